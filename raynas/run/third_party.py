"""A third-party Ray Tune searcher behind raynas's ask and tell."""

import inspect
from typing import Any

from ray.tune.search import Searcher as TuneSearcher

from raynas.objectives import Trial
from raynas.space import Config, Space
from raynas.tables import InputError


class ThirdParty:
    """Drives a subclass of `ray.tune.search.Searcher` on the flat space; `options` go to its constructor.

    It is rebuilt by replay like any other; where it does not repeat itself, the configs on record count.
    """

    def __init__(self, kind: type, space: Space, options: dict[str, Any]):
        made: Any = kind
        if not (inspect.isclass(kind) and issubclass(kind, TuneSearcher)):
            raise InputError(f"'{getattr(kind, '__name__', kind)}' must be a subclass of ray.tune.search.Searcher")
        try:
            self.inner = made(**options)
        except Exception as error:  # whatever its constructor raises
            raise InputError(f"cannot make {kind.__name__}: {type(error).__name__}: {error}") from error
        if not self.inner.set_search_properties("fitness", "max", dict(space.flat())):
            raise InputError(f"{kind.__name__} refuses the space; leave space, metric and mode out of its options")
        self.space, self.asked = space, 0
        self.origin: dict[str, Any] = {}

    def ask(self) -> Config | None:
        values = self.inner.suggest(f"{self.asked:05d}")
        if values is None or values == TuneSearcher.FINISHED:
            return None
        self.origin = {"operator": type(self.inner).__name__, "ask": self.asked}
        self.asked += 1
        return self.space.unflat(values)

    def tell(self, trial: Trial) -> None:
        name = f"{trial.origin['ask']:05d}"
        for epoch, fitness in trial.curve[:-1]:
            self.inner.on_trial_result(name, self._result(trial, epoch, fitness))
        if trial.fitness is None:
            self.inner.on_trial_complete(name, error=True)
        else:
            self.inner.on_trial_complete(name, self._result(trial, trial.epoch, trial.fitness))

    def _result(self, trial: Trial, epoch: int, fitness: float) -> dict[str, Any]:
        config = self.space.flatten(trial.config)
        return {"fitness": fitness, "training_iteration": epoch, "epoch": epoch, "config": config}
