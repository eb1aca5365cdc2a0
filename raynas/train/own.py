"""The user's own training loop: a generator function that yields metrics."""

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas.tables import InputError
from raynas.train.share import Share


@dataclass(frozen=True)
class OwnTraining:
    """Runs `function(config)` or `function(config, checkpoint)`, which yields a dict of metrics an epoch.

    `checkpoint` is a folder of the trial: what is written there before a yield is there when the trial goes on after
    a kill or a pause. A function that goes on from it yields `epoch` with its metrics, the epoch it found first;
    otherwise epochs are counted.
    """

    function: Callable[..., Iterator[dict[str, Any]]]

    @property
    def may_run_ahead(self) -> bool:
        return not self.takes_checkpoint

    @property
    def takes_checkpoint(self) -> bool:
        return "checkpoint" in inspect.signature(self.function).parameters

    def _epoch(self, metrics: dict[str, Any], number: int) -> dict[str, int]:
        """The epoch of a report: counted, but said by a function that may start from a checkpoint."""
        if not self.takes_checkpoint or "epoch" not in metrics:
            return {"epoch": number}
        if not isinstance(metrics["epoch"], int) or metrics["epoch"] < 1:
            raise InputError(f"epochs are numbered from 1, got epoch {metrics['epoch']!r}")
        return {"epoch": metrics["epoch"]}

    def __call__(self, config: dict[str, Any], checkpoint: Path, seed: int, share: Share) -> Iterator[dict[str, Any]]:
        share.prepare(
            seed, uses_torch="torch" in inspect.unwrap(self.function).__code__.co_names
        )  # imported when it runs
        given: dict[str, Any] = {}
        if self.takes_checkpoint:
            checkpoint.mkdir(parents=True, exist_ok=True)
            given["checkpoint"] = checkpoint
        for number, metrics in enumerate(self.function(copy.deepcopy(config), **given), start=1):
            if not isinstance(metrics, dict):
                raise InputError(f"a training function yields a dict of metrics, got {metrics!r}")
            yield {**metrics, **self._epoch(metrics, number), "finished": False}


def check_function(function: Any) -> None:
    """Refuse what cannot be driven, before anything runs."""
    name = getattr(function, "__name__", repr(function))
    if not inspect.isgeneratorfunction(inspect.unwrap(function)):
        raise InputError(f"'{name}' must be a generator function: `yield {{'val_accuracy': …}}` once an epoch")
    needed = [
        parameter.name
        for parameter in list(inspect.signature(function).parameters.values())[1:]
        if parameter.default is parameter.empty and parameter.name != "checkpoint"
    ]
    if not inspect.signature(function).parameters or needed:
        raise InputError(
            f"'{name}' must take (config) or (config, checkpoint); it also wants {', '.join(needed) or 'nothing'}"
        )
