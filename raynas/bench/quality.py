"""`raynas bench quality`: how good the searchers are on NAS-Bench-201, by its paper's protocol, beside its figures.

Search on CIFAR-10 by the validation accuracy after 12 epochs until 12,000 simulated seconds of training are used up; then
look at the chosen cell's accuracies after 200 epochs on all three datasets (Dong & Yang, 2020, sec. 4 and Table 5).
"""

import os
import statistics
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from rich.console import Console
from rich.table import Table as Shown

from raynas.data.tabular import Table, load_table
from raynas.run.plan import Plan
from raynas.run.simulate import plan_simulation, simulated

PARTS = ("cifar10", "cifar100", "imagenet16_120")
SMALL = {"population": 10, "tournament": 3}
CONTESTANTS: dict[str, dict[str, Any]] = {
    "random": {"name": "random"},
    "regularized evolution": {"name": "regularized-evolution", **SMALL},
    "genetic, steady": {"name": "genetic", **SMALL},
    "genetic, generational": {"name": "genetic", "manner": "generational", **SMALL},
    "local search": {"name": "local-search"},
    "REINFORCE": {"name": "reinforce"},
    "BANANAS": {"name": "bananas"},
}
PUBLISHED = {
    "random": "93.70 ± 0.36 | 71.04 ± 1.07 | 44.57 ± 1.25",
    "regularized evolution": "93.92 ± 0.30 | 71.84 ± 0.99 | 45.54 ± 1.03",
    "REINFORCE": "93.85 ± 0.37 | 71.71 ± 1.09 | 45.24 ± 1.18",
}
"""Test accuracy in %, mean and standard deviation over 500 runs, of the paper's Table 5."""


def _finals(tables: dict[str, Table], plan: Plan, seed: int) -> tuple[list[float], int]:
    """Test accuracies in % of the cell that one search chose, and how many cells it trained."""
    run = simulated(plan, seed, workers=1)
    best = run.best()
    assert best is not None
    row = run.rows[best.number]  # the parts of the file have the same rows
    return [100 * float(tables[part].final["test_accuracy"][row]) for part in PARTS], len(run.ended)


def quality(
    *,
    table: str = "nasbench201.npz",
    seconds: Annotated[float, Field(gt=0)] = 12_000.0,
    seeds: Annotated[int, Field(ge=2)] = 200,
) -> None:
    """`table` is NAS-Bench-201's, a path or a file in $RAYNAS_DATA."""
    path = Path(table)
    if not path.is_file() and "RAYNAS_DATA" in os.environ:
        path = Path(os.environ["RAYNAS_DATA"]) / table
    tables = {part: load_table(f"tabular:{path}#{part}") for part in PARTS}
    made = Shown("searcher", "cells", *(f"{part} test" for part in PARTS), "published", box=None)
    for name, choice in CONTESTANTS.items():
        spec = {
            "data": f"tabular:{path}#cifar10",
            "search": choice,
            "training": {"epochs": 12},
            "budget": {"wall_time_s": seconds},
        }
        plan = plan_simulation(spec)
        runs = [_finals(tables, plan, seed) for seed in range(seeds)]
        columns = zip(*(finals for finals, _ in runs), strict=True)
        cells = [f"{statistics.mean(column):.2f} ± {statistics.stdev(column):.2f}" for column in columns]
        made.add_row(name, f"{statistics.mean(count for _, count in runs):.0f}", *cells, PUBLISHED.get(name, ""))
    console = Console(width=140, highlight=False)
    console.print(
        f"[bold]NAS-Bench-201[/bold]: {seeds} seeds, {seconds:,.0f} simulated seconds; mean ± standard deviation, %"
    )
    console.print(made)
