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
STARTS = 3  # of the descent to the cheapest network
LISTED, PLACES = 16, 4  # decisions of more values than the first are tried at as many places as the second, and one
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
    kept = sum(_excess(counted, item) == 0 for _, item in known)
    if not kept:
        _find_one(space, cost, counted, known)
    return Feasible(len(configs), kept)


def _excess(limits: tuple[Limit, ...], costs: dict[str, Any]) -> float:
    """By how much costs break limits, as shares of the bounds; 0 when all hold."""
    return sum(
        max(1e-9, abs(costs[limit.cost] - limit.bound) / max(abs(limit.bound), 1e-9))
        for limit in limits
        if not limit.holds(costs)
    )


def _find_one(space: Space, cost: Cost, limits: tuple[Limit, ...], known: list[tuple[Config, dict[str, Any]]]) -> None:
    """Look for a network that keeps to the limits; raise with the nearest that was found if there is none."""
    for limit in limits:
        nearest = _descend(space, cost, (limit,), known)
        if not limit.holds(nearest):
            word = "smallest" if limit.direction > 0 else "largest"
            raise InputError(
                f"no network of the space meets '{limit}': the {word} {limit.cost} found is {shown(nearest[limit.cost])}"
            )
    nearest = _descend(space, cost, limits, known)
    if _excess(limits, nearest) > 0:
        wanted = " and ".join(f"'{limit}'" for limit in limits)
        said = ", ".join(f"{limit.cost} {shown(nearest[limit.cost])}" for limit in limits)
        raise InputError(f"no network of the space meets {wanted}; the nearest found has {said}")


def _descend(
    space: Space, cost: Cost, limits: tuple[Limit, ...], known: list[tuple[Config, dict[str, Any]]]
) -> dict[str, Any]:
    """The costs of the network nearest to the limits that changing one decision at a time leads to, from the few samples
    that are nearest."""
    flat = space.flat()
    starts = sorted(known, key=lambda pair: _excess(limits, pair[1]))[:STARTS]
    best = starts[0][1]
    for config, costs in starts:
        values, left = space.flatten(config), True
        while left and _excess(limits, costs) > 0:
            left = False
            for name, domain in flat.items():
                for choice in _choices(domain):
                    item = cost(space.unflat({**values, name: choice}))
                    if item is not None and _excess(limits, item) < _excess(limits, costs):
                        values, costs, left = {**values, name: choice}, item, True
        best = min(best, costs, key=lambda item: _excess(limits, item))
        if _excess(limits, best) == 0:
            break
    return best


def _choices(domain: Any) -> list[Any]:
    """Values of a decision to try: all, or a few over its range."""
    if kinds.size(domain) <= LISTED:
        return kinds.levels(domain) or []
    return [kinds.decode(domain, place / PLACES) for place in range(PLACES + 1)]
