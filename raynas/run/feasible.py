"""How much of a space the limits leave, seen before a trial starts."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raynas.objectives import MEASURED, Limit
from raynas.objectives.limits import shown
from raynas.rng import stream
from raynas.space import Config, Space, kinds
from raynas.tables import InputError

SAMPLES = 200
ROUNDS = 5  # of the descent to the cheapest network
Cost = Callable[[Config], dict[str, Any] | None]


@dataclass(frozen=True)
class Feasible:
    """Of `samples` random configs, how many keep to all limits."""

    samples: int
    kept: int

    def __str__(self) -> str:
        if not self.kept:
            return f"none of {self.samples} random networks keeps to the limits: the search may be slow to find one"
        spread = 1.96 * math.sqrt(self.kept * (self.samples - self.kept) / self.samples) / self.samples
        return f"{self.kept / self.samples:.0%} (± {spread:.0%}) of the space keeps to the limits"


def examine(space: Space, cost: Cost, limits: tuple[Limit, ...]) -> Feasible | None:
    """The feasible share; None when nothing can be counted beforehand. Raises InputError when a limit leaves nothing."""
    counted = tuple(limit for limit in limits if limit.cost != MEASURED)
    if not counted:
        return None
    configs = [space.sample(stream(0, 2, number)) for number in range(SAMPLES)]
    costs = [cost(config) for config in configs]
    known = [(config, item) for config, item in zip(configs, costs, strict=True) if item is not None]
    if not known:
        raise InputError(
            f"the limit '{counted[0]}' cannot be checked: the model cannot be built on torch's meta device"
        )
    kept = sum(all(limit.holds(item) for limit in counted) for _, item in known)
    if not kept:
        for limit in counted:
            _check(space, cost, limit, known)
    return Feasible(len(known), kept)


def _check(space: Space, cost: Cost, limit: Limit, known: list[tuple[Config, dict[str, Any]]]) -> None:
    """Raise unless some network keeps to the limit."""
    if any(limit.holds(item) for _, item in known):
        return
    config, item = min(known, key=lambda pair: limit.direction * pair[1][limit.cost])
    extreme = _descend(space, cost, limit, config, item[limit.cost])
    if not limit.holds({limit.cost: extreme}):
        word = "smallest" if limit.direction > 0 else "largest"
        raise InputError(f"no network of the space meets '{limit}': the {word} {limit.cost} found is {shown(extreme)}")


def _descend(space: Space, cost: Cost, limit: Limit, config: Config, value: float) -> float:
    """The least (or most) of a cost that changing one decision at a time leads to."""
    flat, values = space.flat(), space.flatten(config)
    for _ in range(ROUNDS):
        before = value
        for name, domain in flat.items():
            levels = kinds.levels(domain) or []
            tried = levels if 0 < len(levels) <= 8 else [kinds.decode(domain, u) for u in (0.0, 0.5, 1.0)]
            for choice in tried:
                item = cost(space.unflat({**values, name: choice}))
                if item is not None and limit.direction * item[limit.cost] < limit.direction * value:
                    values, value = {**values, name: choice}, item[limit.cost]
                    if limit.holds(item):
                        return value
        if value == before:
            break
    return value
