"""An Optuna study of every searcher's trials, for optuna-dashboard and `optuna.load_study`."""

import json
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import TrialState

from raynas.objectives import Trial
from raynas.run.plan import Plan
from raynas.run.tracking.audience import Subject
from raynas.run.tracking.names import numbered
from raynas.searchers.optuna import distribution, state_of
from raynas.space import kinds

SEARCH = "raynas"  # the study's attribute that says which search it is of
PLAIN = (str, int, float, bool, type(None))


def check(url: str) -> None:
    """Raise whatever Optuna does when there is no database at `url`."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna.storages.RDBStorage(url)


class OptunaStudy:
    """One study a search; a trial is added when it has ended, once. Its parameters are the decisions of the flat space, its
    attributes the config as it was, the costs and where it came from. Goals of `pareto` are the study's directions."""

    def __init__(self, url: str, subject: Subject, plan: Plan):
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.space, self.flat = plan.space, plan.space.flat()
        self.distributions = {name: _plain(distribution(domain)) for name, domain in self.flat.items()}
        goals = plan.experiment.objective.get("metrics") or {"fitness": "max"}
        self.metrics = list(goals)
        self.study = _study(url, subject, [f"{mode}imize" for mode in goals.values()])
        if self.study.user_attrs.get(SEARCH) != subject.key:
            self.study.set_user_attr(SEARCH, subject.key)
            self.study.set_metric_names(self.metrics)

    def missing(self, record: Mapping[int, Trial]) -> set[int]:
        there = {trial.user_attrs["number"] for trial in self.study.get_trials(deepcopy=False)}
        return record.keys() - there

    def start(self, trial: Trial) -> None:
        pass

    def hear(self, trial: Trial, epoch: int, fitness: float, metrics: dict[str, Any]) -> None:
        pass

    def end(self, trial: Trial) -> None:
        values, state = self._values(trial), state_of(trial)
        params = {name: _shown(value) for name, value in self._decisions(trial).items()}
        self.study.add_trial(
            optuna.create_trial(
                state=state,
                values=values if state == TrialState.COMPLETE else None,
                params=params,
                distributions={name: self.distributions[name] for name in params},
                user_attrs=_attributes(trial),
                intermediate_values=dict(trial.curve) if len(self.metrics) == 1 else {},
            )
        )

    def close(self) -> None:
        pass

    def _values(self, trial: Trial) -> list[float] | None:
        """What the study judges by."""
        known = {**trial.cost, **trial.metrics, "fitness": trial.fitness}
        return None if trial.fitness is None else [float(known[name]) for name in self.metrics]

    def _decisions(self, trial: Trial) -> dict[str, Any]:
        """The values of the flat space, but those that were changed on the way to ones outside of it."""
        values = self.space.flatten(trial.config)
        return {name: value for name, value in values.items() if kinds.contains(self.flat[name], value)}


def _study(url: str, subject: Subject, directions: list[str]) -> optuna.Study:
    """The search's own study, or a new one of the first name that is free."""
    storage = optuna.storages.RDBStorage(url)
    taken = set(optuna.get_all_study_names(storage))
    for name in numbered(subject.name):
        if name not in taken:
            return optuna.create_study(storage=storage, study_name=name, directions=directions)
        study = optuna.load_study(study_name=name, storage=storage)
        if study.user_attrs.get(SEARCH) == subject.key:
            return study
    raise AssertionError("some name is free")


def _plain(found: Any) -> Any:
    """Categories that are no plain values as JSON: a database keeps no others."""
    if isinstance(found, optuna.distributions.CategoricalDistribution):
        return optuna.distributions.CategoricalDistribution([_shown(choice) for choice in found.choices])
    return found


def _shown(value: Any) -> Any:
    return value if isinstance(value, PLAIN) else json.dumps(value)


def _attributes(trial: Trial) -> dict[str, Any]:
    reached = {name: value for name, value in trial.metrics.items() if isinstance(value, PLAIN)}
    failure = {} if trial.error is None else {"failure": trial.failure or trial.state, "error": trial.error[-2000:]}
    return {
        "number": trial.number,
        **trial.cost,
        **{f"config.{name}": _shown(value) for name, value in trial.config.items()},
        **{f"last.{name}": value for name, value in reached.items()},
        **failure,
        "origin": trial.origin,
    }
