"""A Space: a dict of Ray Tune domains and constants that yields configs."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
from ray.tune.search.sample import Domain

from raynas.space import kinds
from raynas.tables import InputError, nearest

Config = dict[str, Any]


FEW = 10  # values of a decision that are all neighbours of each other
STEP = 0.1  # to a neighbour, as a share of the range


def _others(domain: Domain, value: Any) -> list[Any]:
    """The neighbours of a plain domain's value."""
    if kinds.size(domain) <= FEW:
        return [other for other in kinds.levels(domain) or [] if other != value]
    place = kinds.encode(domain, value)
    return [kinds.decode(domain, u) for u in (place - STEP, place + STEP) if 0 <= u <= 1]


def _same(config: Config) -> Config:
    return config


@dataclass(frozen=True)
class Space:
    """What can be: `parameters` maps a name to a Ray Tune domain or to a constant.

    `merge` maps a config to the one that stands for all configs which mean the same network; who knows the networks
    (models) sets it with `merging`.
    """

    parameters: Mapping[str, Any]
    about: str = ""
    merge: Callable[[Config], Config] = field(default=_same, compare=False)

    @property
    def domains(self) -> dict[str, Domain]:
        """The parameters that vary."""
        return {name: value for name, value in self.parameters.items() if isinstance(value, Domain)}

    @property
    def constants(self) -> Config:
        return {name: value for name, value in self.parameters.items() if not isinstance(value, Domain)}

    def merging(self, merge: Callable[[Config], Config]) -> "Space":
        """The same space with another rule for which configs mean the same network."""
        return replace(self, merge=merge)

    def sample(self, rng: np.random.Generator) -> Config:
        """A random config; depends on `rng` alone."""
        return self._config({name: kinds.draw(domain, rng) for name, domain in self.domains.items()})

    def mutate(self, config: Config, rng: np.random.Generator) -> Config:
        """`config` with one parameter, chosen evenly among those that can change, set to another value."""
        movable = [name for name, domain in self.domains.items() if kinds.size(domain) > 1]
        if not movable:
            return dict(config)
        name = movable[rng.integers(len(movable))]
        return {**config, name: kinds.mutate(self.domains[name], config[name], rng)}

    def cross(self, one: Config, other: Config, rng: np.random.Generator) -> Config:
        """A child of two configs, parameter by parameter."""
        mixed = {name: kinds.cross(domain, one[name], other[name], rng) for name, domain in self.domains.items()}
        return self._config(mixed)

    def neighbours(self, config: Config) -> list[Config]:
        """Every config that differs by one decision: all other values where there are few, a step up and down elsewhere.
        Configs that mean the same network are there once."""
        flat, values = self.flat(), self.flatten(config)
        found = {self.identity(config): config}
        for name, domain in flat.items():
            for value in _others(domain, values[name]):
                near = self.unflat({**values, name: value})
                found.setdefault(self.identity(near), near)
        return list(found.values())[1:]

    def flat(self) -> dict[str, Domain]:
        """The same space as plain Ray domains, one a decision: what Optuna or another Ray Tune searcher sees."""
        return {
            f"{name}.{gene}" if gene else name: plain
            for name, domain in self.domains.items()
            for gene, plain in kinds.genes(domain).items()
        }

    def unflat(self, values: Mapping[str, Any]) -> Config:
        """The config that values of `flat()` stand for; every combination stands for a valid one."""
        config = {}
        for name, domain in self.domains.items():
            genes = {gene: values[f"{name}.{gene}" if gene else name] for gene in kinds.genes(domain)}
            config[name] = kinds.from_genes(domain, genes)
        return self._config(config)

    def flatten(self, config: Config) -> Config:
        """The values of `flat()` that stand for `config`."""
        return {
            f"{name}.{gene}" if gene else name: value
            for name, domain in self.domains.items()
            for gene, value in kinds.to_genes(domain, config[name]).items()
        }

    def encode(self, config: Config) -> np.ndarray:
        """`config` as a point of the unit cube, one float64 a decision of `flat()`."""
        values, flat = self.flatten(config), self.flat()
        return np.array([kinds.encode(flat[name], values[name]) for name in flat], dtype=np.float64)

    def features(self, config: Config) -> np.ndarray:
        """(d,) float64 for predictors of fitness; cells by their paths."""
        return np.concatenate([kinds.features(domain, config[name]) for name, domain in self.domains.items()])

    def decode(self, point: Iterable[float]) -> Config:
        """The config at a point of the unit cube; `decode(encode(config)) == config` up to float rounding."""
        return self.unflat(
            {name: kinds.decode(plain, float(u)) for (name, plain), u in zip(self.flat().items(), point, strict=True)}
        )

    def check(self, config: Mapping[str, Any]) -> None:
        """Raise one InputError that names everything by which `config` is not of this space."""
        wrong = [
            f"unknown parameter '{name}'.{nearest(name, self.parameters)}"
            for name in config
            if name not in self.parameters
        ]
        for name, value in self.parameters.items():
            if name not in config:
                wrong.append(f"parameter '{name}' is missing")
            elif isinstance(value, Domain) and not kinds.contains(value, config[name]):
                wrong.append(f"parameter '{name}' must be of {kinds.show(value)}, got {config[name]!r}")
            elif not isinstance(value, Domain) and config[name] != value:
                wrong.append(f"parameter '{name}' is always {value!r}, got {config[name]!r}")
        if wrong:
            raise InputError("; ".join(wrong))

    def contains(self, config: Mapping[str, Any]) -> bool:
        try:
            self.check(config)
        except InputError:
            return False
        return True

    def identity(self, config: Config) -> str:
        """16 hex digits, equal for configs that mean the same network trained the same way."""
        spelled = {
            name: kinds.canonical(domain, value) if isinstance(domain := self.parameters.get(name), Domain) else value
            for name, value in config.items()
        }
        text = json.dumps(self.merge(spelled), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def size(self, names: Iterable[str] | None = None) -> int | float:
        """How many configs there are (of the parameters called `names`): exact, or infinity."""
        chosen = [self.domains[name] for name in (self.domains if names is None else names) if name in self.domains]
        return math.prod(kinds.size(domain) for domain in chosen)

    def networks(self, names: Iterable[str]) -> int | float | None:
        """How many distinct networks the parameters called `names` span, counted by listing them where some may be the
        same; None where that would take too long."""
        chosen = {name: self.domains[name] for name in names if name in self.domains}
        total = self.size(chosen)
        structured = any(list(kinds.genes(domain)) != [""] for domain in chosen.values())
        if self.merge is _same and (not structured or total > kinds.ENUMERABLE):
            return total
        values = [kinds.levels(domain) for domain in chosen.values()]
        if total > kinds.ENUMERABLE or any(items is None for items in values):
            return None
        points = product(*(items for items in values if items is not None))
        return len({self.identity({**self.constants, **dict(zip(chosen, point, strict=True))}) for point in points})

    def spec(self) -> dict[str, Any]:
        """The space as data, as a YAML file holds it; `read` comes back."""
        return {
            name: kinds.show(value) if isinstance(value, Domain) else value for name, value in self.parameters.items()
        }

    def _config(self, values: Config) -> Config:
        """`values` and the constants, in the order of the space."""
        return {name: values.get(name, value) for name, value in self.parameters.items()}
