"""Objectives: the metrics and costs of a trial become numbers to maximise. The only place that knows "min"."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from raynas.tables import InputError, nearest

Goal = Callable[[Mapping[str, Any]], float]
Mode = Literal["max", "min"]


class Diverged(ArithmeticError):
    """The training left the finite numbers: its trial ends as failed, of kind "diverged"."""


@dataclass(frozen=True)
class Objective:
    """What to maximise, from a mapping of metrics and costs. The first goal is the fitness, by which trials are ranked
    and stopped; `scores` are all of them. `reads` names what they read."""

    goals: tuple[Goal, ...]
    reads: tuple[str, ...]

    def __call__(self, metrics: Mapping[str, Any]) -> float:
        return self.scores(metrics)[0]

    def scores(self, metrics: Mapping[str, Any]) -> tuple[float, ...]:
        return tuple(goal(metrics) for goal in self.goals)


def read_number(metrics: Mapping[str, Any], name: str) -> float:
    """A metric as a finite number; raises InputError when it is none, Diverged when it is not finite."""
    if name not in metrics:
        hint = nearest(name, metrics)
        raise InputError(
            f"the objective '{name}' is not among the reported metrics.{hint} Reported: {', '.join(metrics)}"
        )
    value: Any = metrics[name]
    try:
        number = float(value.__float__())  # unlike float(), it reads no strings
    except (AttributeError, TypeError, ValueError, RuntimeError):  # of arrays and tensors that hold several
        raise InputError(f"the objective '{name}' must be a number, got {value!r}") from None
    if not math.isfinite(number):
        raise Diverged(f"{name} is {value}")
    return number


def _goal(name: str, mode: Mode) -> Goal:
    sign = 1.0 if mode == "max" else -1.0
    return lambda metrics: sign * read_number(metrics, name)


def metric(*, metric: str, mode: Mode = "max") -> Objective:
    """Any reported metric or cost (`params`, `flops`, …), maximised or minimised."""
    return Objective((_goal(metric, mode),), (metric,))


def accuracy() -> Objective:
    """Validation accuracy in [0, 1]."""
    return metric(metric="val_accuracy", mode="max")


def loss() -> Objective:
    """Validation loss, minimised."""
    return metric(metric="val_loss", mode="min")


def genome(*, alpha: Annotated[float, Field(ge=0, le=1)] = 0.3) -> Objective:
    """(1 - alpha) * 10 * accuracy - alpha * log10(floor(params / 1000) * 1000), accuracy in [0, 1] on validation: the
    fitness of the genome report (CSL7540, IIT Jodhpur, 2021). Networks under 1,000 parameters count as 1,000, where
    the report's formula has no value."""

    def fitness(metrics: Mapping[str, Any]) -> float:
        thousands = max(1.0, read_number(metrics, "params") // 1000)
        return (1 - alpha) * 10 * read_number(metrics, "val_accuracy") - alpha * math.log10(1000 * thousands)

    return Objective((fitness,), ("val_accuracy", "params"))


def weighted(*, weights: dict[str, float]) -> Objective:
    """The sum of metrics and costs times their weights; a negative weight minimises."""
    if not weights or not all(math.isfinite(weight) for weight in weights.values()):
        raise InputError(
            f"weights are finite numbers by metric, e.g. {{val_accuracy: 1, params: -1e-6}}, got {weights}"
        )

    def fitness(metrics: Mapping[str, Any]) -> float:
        total = sum(weight * read_number(metrics, name) for name, weight in weights.items())
        if not math.isfinite(total):
            raise Diverged(f"the weighted sum is {total}")
        return total

    return Objective((fitness,), tuple(weights))


def pareto(*, metrics: dict[str, Mode]) -> Objective:
    """Several metrics or costs at once, each maximised or minimised: for the searcher `nsga2` and the Pareto front. The
    first is the fitness, for early stopping, for searchers that look at one, and for the order of tables."""
    if len(metrics) < 2:
        raise InputError(f"pareto takes two metrics or more, e.g. {{val_accuracy: max, params: min}}, got {metrics}")
    return Objective(tuple(_goal(name, mode) for name, mode in metrics.items()), tuple(metrics))


OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "accuracy": accuracy,
    "loss": loss,
    "metric": metric,
    "genome": genome,
    "weighted": weighted,
    "pareto": pareto,
}
