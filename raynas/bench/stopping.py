"""`raynas bench stopping`: how many steps early stopping saves on recorded learning curves (TaskSet, Metz et al., 2020)."""

from typing import Annotated, Any

import numpy as np
from pydantic import Field
from rich.console import Console
from rich.table import Table as Shown

from raynas.data.tabular import find_table
from raynas.run.simulate import plan_simulation, simulated

STOPS: dict[str, dict[str, Any]] = {
    "none": {"name": "none"},
    "asha": {"name": "asha"},
    "asha, grace 2, reduction 4": {"name": "asha", "grace": 2, "reduction": 4.0},
    "median": {"name": "median", "grace": 2},
    "hyperband": {"name": "hyperband"},
}
MORE = 4  # times as many trials as full training may be begun with early stopping


def stopping(
    *,
    table: str = "taskset_rnn.npz",
    tasks: Annotated[int, Field(ge=1)] = 12,
    trials: Annotated[int, Field(ge=2)] = 32,
    seeds: Annotated[int, Field(ge=1)] = 20,
) -> None:
    """Random search trains `trials` configs to their end; the lowest of their final validation losses is the goal. The
    figure is the steps until a search with early stopping reports as low a loss, over the steps of full training (`never`:
    not among four times as many trials), median over seeds. `table` is a path or a file in $RAYNAS_DATA."""
    path = find_table(table)
    made = Shown("task", *STOPS, box=None)
    medians = []
    for task in range(tasks):
        ratios = np.array([_ratios(f"tabular:{path}#{task}", trials, seed) for seed in range(seeds)])
        medians.append(np.median(ratios, axis=0))
        made.add_row(str(task), *map(_shown, medians[-1]))
    made.add_row("median", *map(_shown, np.median(medians, axis=0)), style="bold")
    console = Console(width=120, highlight=False)
    console.print(
        f"[bold]steps to the lowest final loss of {trials} full trainings, over the steps of these[/bold]; {seeds} seeds"
    )
    console.print(made)


def _ratios(data: str, trials: int, seed: int) -> list[float]:
    objective = {"fitness": "metric", "metric": "val_loss", "mode": "min"}
    found, goal, whole = [], 0.0, 1
    for name, stop in STOPS.items():
        count = trials if name == "none" else MORE * trials
        spec = {"data": data, "search": "random", "stop": stop, "objective": objective, "budget": {"trials": count}}
        run = simulated(plan_simulation(spec), seed, workers=1)
        heard = [fitness for _, fitness in run.heard]
        if name == "none":
            goal = max(trial.fitness for trial in run.trials if trial.state == "done" and trial.fitness is not None)
            whole = run.steps
        reached = next((step for step, fitness in enumerate(heard, start=1) if fitness >= goal), None)
        found.append(np.inf if reached is None else reached / whole)
    return found


def _shown(ratio: float) -> str:
    return f"{ratio:.2f}" if np.isfinite(ratio) else "never"
