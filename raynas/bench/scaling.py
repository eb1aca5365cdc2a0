"""`raynas bench scaling`: how far each searcher scales on one driver, by simulation on the times of NAS-Bench-201.

The simulated workers train for the recorded seconds of 12 epochs. What the searchers take to decide is measured as they
decide, and what a result costs the driver is measured on a real Ray first.
"""

import tempfile
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from rich.console import Console
from rich.table import Table as Shown

from raynas.bench.overhead import handling
from raynas.data.tabular import find_table
from raynas.run.cluster import connected
from raynas.run.plan import Plan
from raynas.run.progress import note
from raynas.run.simulate import Driver, Simulation, Simulator, plan_simulation

SEARCHES: dict[str, dict[str, Any]] = {
    "random": {"name": "random"},
    "regularized evolution": {"name": "regularized-evolution"},
    "genetic, steady": {"name": "genetic"},
    "genetic, generational": {"name": "genetic", "manner": "generational"},
    "local search": {"name": "local-search"},
    "REINFORCE": {"name": "reinforce"},
    "ENAS": {"name": "enas"},
    "BANANAS": {"name": "bananas"},
    "Optuna TPE": {"name": "optuna"},
}
Count = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Scaled:
    """One searcher with so many workers: the share of their time that they train, the seconds of deciding a trial, how many
    workers one driver could feed, and the simulated hours and trials to the wanted quality (infinite: not reached)."""

    utilisation: float
    decision_s: float
    fed: float
    hours: float
    trials: float


def _simulate(plan: Plan, seed: int, workers: int, handling_s: float, **given: Any) -> tuple[Simulation, Driver, float]:
    assert plan.table is not None
    driver = Driver(handling_s)
    epochs = plan.experiment.training.epochs
    made = Simulator(
        plan.table,
        plan.space,
        plan.searcher(seed),
        plan.objective,
        workers=workers,
        epochs=epochs,
        driver=driver,
        **given,
    )
    return made.run(), driver, made.asked_s


def busy(run: Simulation, seconds: Any, workers: int, until: float) -> float:
    """The share of the workers' time up to `until` in which they train; `seconds` is what each row's training takes."""
    ends = np.array([second for second, _ in run.ended])
    takes = np.array([seconds[run.rows[number]] for _, number in run.ended])
    return float(np.minimum(takes, np.maximum(0.0, until - (ends - takes))).sum() / (workers * until))


def scaled(plan: Plan, workers: int, handling_s: float, regret: float, seeds: int, rounds: int) -> Scaled:
    """Every cell is trained anew for the utilisation, over `rounds` trials a worker until the last one is asked for;
    isomorphic cells once for the quality, as in a real search."""
    assert plan.table is not None
    table = plan.table
    epoch = table.epochs.index(plan.experiment.training.epochs)
    takes = table.seconds[:, epoch]
    trials = max(100, rounds * workers)
    run, driver, asked_s = _simulate(plan, 0, workers, handling_s, trials=trials, merge=False)
    utilisation = busy(run, takes, workers, asked_s)
    decision_s = (driver.busy_s - handling_s * len(run.ended)) / len(run.ended)
    enough = float(table.metrics["val_accuracy"][:, epoch].max()) - regret
    hours, counts = [], []
    for seed in range(seeds):
        run, _, _ = _simulate(plan, seed, workers, handling_s, trials=max(2_000, 2 * workers), enough=enough)
        best = run.best()
        there = best is not None and best.fitness is not None and best.fitness >= enough
        hours.append(run.ended[-1][0] / 3600 if there else float("inf"))
        counts.append(len(run.ended) if there else float("inf"))
    mean_s = float(np.mean(takes[run.rows]))
    fed = mean_s / (handling_s + decision_s)
    return Scaled(utilisation, decision_s, fed, float(np.median(hours)), float(np.median(counts)))


def scaling(
    *,
    table: str = "nasbench201.npz",
    workers: list[Count] = [1, 10, 100, 1000],  # noqa: B006 -- read by pydantic, never changed
    only: list[str] | None = None,
    regret: Amount = 0.5,
    seeds: Count = 5,
    rounds: Count = 5,
    handling_ms: Amount | None = None,
) -> None:
    """`regret` is the wanted quality, in points of validation accuracy below the best cell's; `handling_ms` what a result costs
    the driver beside deciding (measured on a Ray of this machine where it is not given)."""
    console = Console(width=140, highlight=False)
    if handling_ms is None:
        with tempfile.TemporaryDirectory() as home, connected(None):
            handling_ms = 1000 * handling(home)
        console.print(
            f"measured: a result costs the driver {handling_ms:.1f} ms, at most {1000 / handling_ms:,.0f} results/s"
        )
    data = f"tabular:{find_table(table)}#cifar10"
    made = Shown(
        "searcher",
        "workers",
        "busy",
        "deciding, ms a trial",
        f"hours to {regret:g} points",
        "speed-up",
        "trials",
        box=None,
    )
    for name in only or SEARCHES:
        plan = plan_simulation({"data": data, "search": SEARCHES[name], "training": {"epochs": 12}})
        alone: float | None = None
        for count in workers:
            one = scaled(plan, count, handling_ms / 1000, regret / 100, seeds, rounds)
            note(
                f"{name}, {count:,} workers: {one.utilisation:.1%} busy, {one.hours:.3g} hours"
            )  # some take many minutes
            alone = one.hours if alone is None else alone
            made.add_row(
                name,
                f"{count:,}",
                f"{one.utilisation:.1%}",
                f"{1000 * one.decision_s:.2f}",
                f"{one.fed:,.0f}",
                *(
                    ("never", "", "")
                    if np.isinf(one.hours)
                    else (f"{one.hours:.3g}", f"{alone / one.hours:.1f}", f"{one.trials:,.0f}")
                ),
            )
    console.print(made)
