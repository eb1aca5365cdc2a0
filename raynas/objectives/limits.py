"""Limits: what a network may cost. `params <= 100_000`, read strictly."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from raynas.tables import InputError, look_up

SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
}
COSTS: dict[str, str] = {
    "params": "trainable parameters",
    "flops": "FLOPs of a forward pass of one image, a multiply and an add being two",
    "memory_mb": "MB (10^6 bytes, float32) of the weights and of the largest layer's input and output for one image",
    "latency_ms": "milliseconds of a forward pass, measured where the trial runs, before it trains",
}
"""What a limit can be on; all but latency are counted on the meta device before a trial exists."""
MEASURED = "latency_ms"


class Refused(Exception):
    """A network breaks a limit on what is measured: its trial ends before it trains."""


@dataclass(frozen=True)
class Limit:
    """`cost sign bound`, as in `params <= 100000`."""

    cost: str
    sign: str
    bound: float

    def holds(self, costs: Mapping[str, Any]) -> bool:
        """Whether the costs keep to it; a cost that is not known yet does."""
        return self.cost not in costs or SIGNS[self.sign](costs[self.cost], self.bound)

    @property
    def direction(self) -> int:
        """1 where less of the cost is better, -1 where more is."""
        return 1 if self.sign.startswith("<") else -1

    def __str__(self) -> str:
        return f"{self.cost} {self.sign} {shown(self.bound)}"


def shown(value: float) -> str:
    """A cost as a person writes it: 100,000; 0.0741."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def parse_limit(text: str) -> Limit:
    """`"params <= 100_000"` as a Limit; raises InputError."""
    found = re.fullmatch(r"\s*(\w+)\s*(<=|>=|<|>)\s*([\d._]+(?:[eE][+-]?\d+)?)\s*", str(text))
    try:
        cost, sign, bound = found.groups() if found else ("", "", "")
        number = float(bound)
        if not math.isfinite(number):
            raise ValueError
    except ValueError:
        raise InputError(f"a limit reads like 'params <= 100_000', got '{text}'; known: {', '.join(COSTS)}") from None
    look_up("cost", cost, COSTS)
    return Limit(cost, sign, number)


def broken(limits: tuple[Limit, ...], costs: Mapping[str, Any]) -> str | None:
    """What the costs exceed, in words; None when all limits hold."""
    said = [
        f"{limit.cost} is {shown(costs[limit.cost])}, not {limit.sign} {shown(limit.bound)}"
        for limit in limits
        if not limit.holds(costs)
    ]
    return "; ".join(said) or None
