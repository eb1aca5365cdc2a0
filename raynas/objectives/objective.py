"""Objectives: the metrics of a report become one number to maximise. The only place that knows "min"."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from raynas.tables import InputError, nearest

Objective = Callable[[Mapping[str, Any]], float]


class Diverged(ArithmeticError):
    """The training left the finite numbers: its trial ends as failed, of kind "diverged"."""


def accuracy() -> Objective:
    """Validation accuracy in [0, 1]."""
    return metric(metric="val_accuracy", mode="max")


def loss() -> Objective:
    """Validation loss, minimised."""
    return metric(metric="val_loss", mode="min")


def metric(*, metric: str, mode: Literal["max", "min"] = "max") -> Objective:
    """Any reported metric, maximised or minimised."""
    sign = 1.0 if mode == "max" else -1.0

    def fitness(metrics: Mapping[str, Any]) -> float:
        if metric not in metrics:
            hint = nearest(metric, metrics)
            raise InputError(
                f"the objective '{metric}' is not among the reported metrics.{hint} Reported: {', '.join(metrics)}"
            )
        value: Any = metrics[metric]
        try:
            number = sign * value.__float__()  # unlike float(), it reads no strings
        except (AttributeError, TypeError, ValueError, RuntimeError):  # of arrays and tensors that hold several
            raise InputError(f"the objective '{metric}' must be a number, got {value!r}") from None
        if not math.isfinite(number):
            raise Diverged(f"{metric} is {value}")
        return number

    return fitness


OBJECTIVES: dict[str, Callable[..., Objective]] = {"accuracy": accuracy, "loss": loss, "metric": metric}
