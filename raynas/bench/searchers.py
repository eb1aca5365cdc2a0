"""`raynas bench searchers`: which searcher finds more in the same number of trials, and whether seeds say so."""

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
T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Student's t for 95 %, by the number of pairs."""


def contestants(trials: int) -> dict[str, dict[str, Any]]:
    """Random first: the others are measured against it. Populations are a quarter of the trials."""
    population = max(2, trials // 4)
    small = {"population": population, "tournament": min(3, population)}
    return {
        "random": {"name": "random"},
        "genetic, steady": {"name": "genetic", **small},
        "genetic, generational": {"name": "genetic", "manner": "generational", **small},
        "regularized evolution": {"name": "regularized-evolution", **small},
        "Optuna TPE": {"name": "optuna", "sampler": "TPE", "sampler_options": {"n_startup_trials": population}},
    }


def _best(choice: dict[str, Any], seed: int, home: str, given: dict[str, Any]) -> float:
    results = search("genome_cnn", search=choice, seed=seed, home=home, progress=False, keep=0, **given)
    return float(results.best()["fitness"].iloc[0])


def searchers(
    *,
    trials: Annotated[int, Field(ge=8)] = 40,
    epochs: Count = 3,
    seeds: Annotated[int, Field(ge=2, le=10)] = 3,
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5,
    data: str = "fashion_mnist_mini",
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.3,
) -> None:
    """Every searcher with the same seeds, trials and epochs on genome CNNs, by the best genome fitness on validation."""
    given: dict[str, Any] = {
        "data": data,
        "validation": validation,
        "trials": trials,
        "hyperparameters": {"lr": 0.01},
        "objective": {"fitness": "genome", "alpha": alpha},
        "training": {"epochs": epochs, "schedule": "one-cycle", "clip": 1.0},
    }
    found: dict[str, list[float]] = {name: [] for name in contestants(trials)}
    console = Console(width=120, highlight=False)
    with tempfile.TemporaryDirectory() as home, connected(None):
        for seed in range(seeds):
            for name, choice in contestants(trials).items():
                found[name].append(_best(choice, seed, home, given))
                console.print(f"seed {seed}  {name}: {found[name][-1]:.4f}")
    print_table(console, found, f"best of {trials} trials of {epochs} epochs on {data}, alpha = {alpha}")


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
