"""Drives a training generator as a Ray Tune trainable, in one process for many trials."""

import errno
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from ray import tune

from raynas.objectives import Diverged, Failure, Objective, Refused
from raynas.train.share import Share

AHEAD_S = 0.02  # trainings with epochs shorter than this run one epoch ahead
DONE: dict[str, Any] = {"done": True, "ended": "done"}


class Training(Protocol):
    """Yields the metrics of a config's epochs. `may_run_ahead`: nothing is lost when an epoch is trained before the
    report of the one before has arrived."""

    may_run_ahead: bool

    def __call__(
        self, config: dict[str, Any], checkpoint: Path, seed: int, share: Share
    ) -> Iterator[dict[str, Any]]: ...


CUDA_IS_GONE = ("CUDA error", "device-side assert", "illegal memory access")


def kind_of_failure(error: BaseException) -> Failure:
    """Which kind of failed trial an exception makes."""
    text = str(error)
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text:
        return "oom"
    return "error"


class GeneratorTrainable(tune.Trainable):
    """`step` is `next`. The class form, because only it lets Ray reuse the process after an early stop too.

    Its config is {"trial": {number, attempt, config, cost, seed, checkpoint, cpu, gpu}}; `training` yields the metrics and
    `objective` makes them and the costs a fitness. A result is {number, attempt, epoch, metrics, fitness, seconds, done,
    ended}: `ended` is "done", "refused" or a failure's kind with its `error`. A training that raises ends its trial, not
    the process; only a broken CUDA context ends that too.
    """

    training: Training
    objective: Objective

    def setup(self, config: dict[str, Any], training: Training, objective: Objective) -> None:
        self.training, self.objective = training, objective
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self.trial: dict[str, Any] = config["trial"]
        self.folder = Path(self.trial["checkpoint"])
        self.reports: Iterator[dict[str, Any]] | None = None
        self.ahead: tuple[dict[str, Any], float] | dict[str, Any] | None = None

    def step(self) -> dict[str, Any]:
        result: dict[str, Any] = {"number": self.trial["number"], "attempt": self.trial["attempt"]}
        outcome = self.ahead or self._next()
        self.ahead = None
        if isinstance(outcome, dict):
            return {**result, **outcome}
        metrics, seconds = outcome
        try:
            finished = bool(metrics.pop("finished", False))
            epoch = int(metrics.pop("epoch"))
            result |= {"epoch": epoch, "metrics": metrics, "seconds": seconds}
            result["fitness"] = self.objective({**self.trial["cost"], **metrics})
        except Exception as error:
            return {**result, **self._failed(error)}
        if seconds < AHEAD_S and self.training.may_run_ahead and not finished:
            self.ahead = self._next()  # the end of a quick training comes with its last report, not a round trip later
            finished = self.ahead == DONE
        return {**result, **({"ended": "done"} if finished else {}), "done": finished}

    def _next(self) -> tuple[dict[str, Any], float] | dict[str, Any]:
        """The next metrics and the seconds they took, or the last result of a training that is over."""
        began = time.perf_counter()
        try:
            if self.reports is None:
                share = Share(self.trial["cpu"], self.trial["gpu"], self.trial.get("free_bytes"))
                self.reports = self.training(self.trial["config"], self.folder, self.trial["seed"], share)
            metrics = next(self.reports, None)
        except Exception as error:
            return self._failed(error)
        return DONE if metrics is None else (metrics, time.perf_counter() - began)

    def _failed(self, error: Exception) -> dict[str, Any]:
        """The last result of a training that raised."""
        self.reports = None  # frees what the generator holds
        if isinstance(error, Refused):
            return {"done": True, "ended": "refused", "error": str(error)}
        kind = kind_of_failure(error)
        if kind == "error" and any(sign in str(error) for sign in CUDA_IS_GONE):
            raise error  # every later trial in this process would fail too
        if kind == "oom":
            _free_gpu_memory()
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return {"done": True, "ended": "error", "error": f"the disk is full: {error}", "fatal": True}
        text = f"{type(error).__name__}: {error}" if kind != "error" else traceback.format_exc()
        return {"done": True, "ended": kind, "error": text}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """For schedulers that pause trials or copy one to another: the trial's folder as it is."""
        if self.folder.is_dir():
            shutil.copytree(self.folder, checkpoint_dir, dirs_exist_ok=True)

    def load_checkpoint(self, checkpoint: Mapping[str, Any] | str | None) -> None:
        """Go on from a folder that `save_checkpoint` filled."""
        assert isinstance(checkpoint, str)
        self.reports = self.ahead = None
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(checkpoint, self.folder)


def _free_gpu_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
