"""A space as a sequence of choices, each of a few numbered values: what a policy decides."""

from typing import Any

from ray.tune.search.sample import Domain

from raynas.space import Config, Space, kinds

BINS = 16  # of a decision that has more values


class Decisions:
    """One decision for every plain domain of `Space.flat()`. One of more than 16 values is made in 16 even steps of its
    range; `counts` are the numbers of values."""

    def __init__(self, space: Space):
        self.space, self.flat = space, space.flat()
        self.counts = [_count(domain) for domain in self.flat.values()]
        self.made: dict[str, list[int]] = {}  # by config: the choices it was made from

    def config(self, choices: list[int]) -> Config:
        """The config that the choices stand for; in the middle of the step where a decision has steps."""
        made = {
            name: kinds.decode(domain, (choice + 0.5) / _count(domain))
            for (name, domain), choice in zip(self.flat.items(), choices, strict=True)
        }
        config = self.space.unflat(made)
        self.made[str(config)] = choices
        return config

    def choices(self, config: Config) -> list[int]:
        """The choices that a config was made from; those that come nearest when another made it."""
        if (known := self.made.get(str(config))) is not None:
            return known
        values = self.space.flatten(config)
        return [_choice(domain, values[name]) for name, domain in self.flat.items()]


def _count(domain: Domain) -> int:
    size = kinds.size(domain)
    return int(size) if size <= BINS else BINS


def _choice(domain: Domain, value: Any) -> int:
    return min(int(kinds.encode(domain, value) * _count(domain)), _count(domain) - 1)
