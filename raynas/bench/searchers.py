"""`raynas bench searchers` and `strategies`: which searcher finds more in the same trials, and whether seeds say so."""

import math
import statistics
import tempfile
from typing import Annotated, Any

from pydantic import Field
from rich.console import Console
from rich.table import Table

from raynas.run.cluster import connected
from raynas.run.launch import search

Count = Annotated[int, Field(ge=1)]
Seeds = Annotated[int, Field(ge=2, le=10)]
Contestants = dict[str, dict[str, Any]]
T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Student's t for 95 %, by the number of pairs."""


def searchers(
    *,
    trials: Annotated[int, Field(ge=8)] = 40,
    epochs: Count = 3,
    seeds: Seeds = 3,
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5,
    flops: Annotated[float, Field(gt=0)] = 20e6,
    data: str = "fashion_mnist_mini",
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.3,
) -> None:
    """On genome CNNs of at most `flops`, by the best genome fitness on validation. Populations are a quarter of the
    trials."""
    population = max(2, trials // 4)
    small = {"population": population, "tournament": min(3, population)}
    contestants: Contestants = {
        "random": {"name": "random"},
        "genetic, steady": {"name": "genetic", **small},
        "genetic, generational": {"name": "genetic", "manner": "generational", **small},
        "regularized evolution": {"name": "regularized-evolution", **small},
        "Optuna TPE": {"name": "optuna", "sampler": "TPE", "sampler_options": {"n_startup_trials": population}},
    }
    spec = {
        "space": "genome_cnn",
        "data": data,
        "validation": validation,
        "trials": trials,
        "hyperparameters": {"lr": 0.01},
        "objective": {"fitness": "genome", "alpha": alpha},
        "limits": [f"flops <= {flops:g}"],
        "training": {"epochs": epochs, "schedule": "one-cycle", "clip": 1.0},
    }
    compare(contestants, spec, seeds, f"best fitness of {trials} trials of {epochs} epochs on {data}, alpha = {alpha}")


def strategies(
    *,
    trials: Count = 15,
    epochs: Count = 3,
    seeds: Seeds = 3,
    data: str = "pneumoniamnist",
    split: str = "official",
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1,
) -> None:
    """The four strategies of the OCTMNIST report on its small CNNs (Adam, learning rate 0.001), by the best validation
    accuracy."""
    contestants: Contestants = {
        "random": {"name": "random"},
        "grid": {"name": "grid", "integers": 5},
        "Optuna TPE": {"name": "optuna", "sampler": "TPE", "sampler_options": {"n_startup_trials": 5}},
        "REINFORCE": {"name": "reinforce"},
    }
    spec = {
        "space": "simple_cnn",
        "data": data,
        "split": split,
        "validation": validation,
        "trials": trials,
        "hyperparameters": {"lr": 0.001},
        "training": {"epochs": epochs, "optimizer": "adam", "schedule": "constant", "weight_decay": 0.0},
    }
    compare(contestants, spec, seeds, f"best validation accuracy of {trials} trials of {epochs} epochs on {data}")


def compare(contestants: Contestants, spec: dict[str, Any], seeds: int, title: str) -> None:
    """Every contestant searches with every seed; each seed splits, starts and shuffles alike for all."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    console = Console(width=120, highlight=False)
    with tempfile.TemporaryDirectory() as home, connected(None):
        for seed in range(seeds):
            for name, choice in contestants.items():
                results = search(**spec, search=choice, seed=seed, home=home, progress=False, keep=0)
                found[name].append(float(results.best()["fitness"].iloc[0]))
                console.print(f"seed {seed}  {name}: {found[name][-1]:.4f}")
    print_table(console, found, title)


def difference(mine: list[float], theirs: list[float]) -> tuple[float, float]:
    """The mean difference of pairs (equal seeds) and the half width of its 95 % interval (Student)."""
    pairs = [one - other for one, other in zip(mine, theirs, strict=True)]
    return statistics.mean(pairs), T95[len(pairs)] * statistics.stdev(pairs) / math.sqrt(len(pairs))


def print_table(console: Console, found: dict[str, list[float]], title: str) -> None:
    """Mean, spread and range by searcher, and the difference from the first with its interval."""
    names = list(found)
    made = Table("searcher", "n", "mean", "std", "lowest", "highest", f"over {names[0]} (95 %)", "", box=None)
    for name, values in found.items():
        shown = [statistics.mean(values), statistics.stdev(values), min(values), max(values)]
        cells, verdict = "", ""
        if name != names[0]:
            middle, half = difference(values, found[names[0]])
            cells = f"{middle:+.4f} ± {half:.4f}"
            verdict = "differs" if abs(middle) > half else "no difference shown"
        made.add_row(name, str(len(values)), *(f"{value:.4f}" for value in shown), cells, verdict)
    console.print(f"[bold]{title}[/bold]")
    console.print(made)
