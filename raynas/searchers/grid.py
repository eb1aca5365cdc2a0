"""Grid search: every combination once, in an order shuffled by the seed, so that a short budget is spread out."""

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from ray.tune.search.sample import Domain, Integer

from raynas.objectives import Trial
from raynas.rng import stream
from raynas.space import Config, Space, kinds
from raynas.tables import InputError

Count = Annotated[int, Field(ge=1)]
LARGEST = 1_000_000


def _spread(domain: Domain, count: int) -> list[Any]:
    """The middles of `count` even parts of the range; fewer where several are one value."""
    return list(dict.fromkeys(kinds.decode(domain, (part + 0.5) / count) for part in range(count)))


class Grid:
    """`points` values stand for each continuous parameter, evenly spaced over its range (in log where it is log), and
    `integers` for a range of whole numbers that has more (None: all of them)."""

    def __init__(self, space: Space, seed: int, *, points: Count = 3, integers: Count | None = None):
        self.space, self.asked = space, 0
        self.origin: dict[str, Any] = {}
        self.axes: dict[str, list[Any]] = {}
        for name, domain in space.domains.items():
            if kinds.size(domain) == math.inf:
                self.axes[name] = _spread(domain, points)
            elif integers is not None and isinstance(domain, Integer) and kinds.size(domain) > integers:
                self.axes[name] = _spread(domain, integers)
            elif (values := kinds.levels(domain)) is not None:
                self.axes[name] = values
            else:
                raise InputError(
                    f"grid cannot list parameter '{name}': it has {kinds.size(domain):.3g} values; use random"
                )
        self.size = math.prod(len(values) for values in self.axes.values())
        if self.size > LARGEST:
            raise InputError(f"a grid of {self.size:.3g} points is too large (at most {LARGEST:,}); use random")
        self.order = stream(seed, 0).permutation(self.size)

    def ask(self) -> Config | None:
        if self.asked >= self.size:
            return None
        place = np.unravel_index(self.order[self.asked], [len(values) for values in self.axes.values()])
        self.asked += 1
        self.origin = {"operator": "grid", "point": self.asked}
        values = {name: axis[index] for (name, axis), index in zip(self.axes.items(), place, strict=True)}
        return {name: values.get(name, value) for name, value in self.space.parameters.items()}

    def tell(self, trial: Trial) -> None:
        pass
