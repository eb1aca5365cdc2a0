"""One trial on Ray once more, in a store of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from raynas.objectives import Trial
from raynas.results import Asked, Heard, Store, Told
from raynas.run.drive import tune_all
from raynas.run.experiment import Budget, Resources
from raynas.run.folders import STORE
from raynas.run.ledger import Ledger
from raynas.run.plan import Plan, spec_of
from raynas.run.progress import Silent
from raynas.run.watch import Watch


def resources_there(recorded: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """The trial's resources, or what the connected Ray has of them, and a line for each that is less."""
    import ray

    there = ray.cluster_resources()
    given, less = dict(recorded), []
    for name, total in (("cpu", there.get("CPU", 0.0)), ("gpu", there.get("GPU", 0.0))):
        if given[name] > total:
            given[name] = float(total)
            less.append(f"{name} of the trial: {recorded[name]:g} then, {total:g} now")
    return given, less


class _Again:
    """A searcher that has nothing to propose: the one trial is on record."""

    def __init__(self, config: dict[str, Any]):
        self.config = config
        self.origin: dict[str, Any] = {}

    def ask(self) -> dict[str, Any] | None:
        return self.config

    def tell(self, trial: Trial) -> None:
        pass


class _UpTo(FIFOScheduler):
    """Stops the trial at the epoch that it had reached."""

    def __init__(self, epoch: int):
        super().__init__()
        self.epoch = epoch

    def replay(self, history: list[Asked | Heard | Told]) -> None:
        pass

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return TrialScheduler.STOP if result.get("epoch", 0) >= self.epoch else TrialScheduler.CONTINUE


def train_again(plan: Plan, row: dict[str, Any], resources: dict[str, float], folder: Path, epochs: int) -> Trial:
    """Run the one trial as a search would, in a store of its own; returns how it ended."""
    experiment = plan.experiment
    made = {"name": "again", "spec": spec_of(plan), "seed": experiment.seed, "data": None, "fingerprints": None}
    store = Store.create(folder / STORE, made)
    fields = ("number", "config", "identity", "seed", "origin")
    trial = Trial(**{name: row[name] for name in fields}, cost=row["cost"] or {})
    store.ask(trial, 1, resources)
    searcher = _Again(row["config"])
    ledger = Ledger(store, folder, plan.space, searcher, Budget(trials=1), experiment.seed, resources, 0)
    ledger.replay()
    alone = Watch(Resources(cpu=resources["cpu"], gpu=resources["gpu"], concurrency=1))
    try:
        tune_all(plan, ledger, _UpTo(epochs), Silent(), alone)
    finally:
        ledger.close()
        store.close()
    return ledger.trials[trial.number]
