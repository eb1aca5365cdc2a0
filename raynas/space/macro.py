"""Whole networks as chains with skips: an operation a layer, and for every earlier layer a skip connection or none
(the macro search space of ENAS; Pham et al., 2018, sec. 2.3).

The grammar is `conv_3x3+sep_conv_5x5~1+avg_pool_3x3~1~2`: layers joined by '+', numbered from 1, each its operation and
the earlier layers that skip to it. The layer right before is always connected: `~` says what is added to what comes from it.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from ray.tune.search.sample import Domain

from raynas.space import kinds
from raynas.tables import InputError

OPERATIONS = ("conv_3x3", "sep_conv_3x3", "conv_5x5", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3")  # in ENAS's order

Layers = tuple[tuple[str, tuple[int, ...]], ...]
"""For layers 1, 2, …: the operation and the earlier layers that skip to it, in order."""


def parse_layers(network: str) -> Layers:
    """The layers of a network: by the grammar, or by ENAS's integers ('0 3 1 4 1 1 …'). Raises InputError."""
    if not isinstance(network, str) or not network:
        raise InputError(f"a macro network is a string like 'conv_3x3+sep_conv_5x5~1', got {network!r}")
    if re.fullmatch(r"[\d\s,]+", network):
        return layers_of([int(number) for number in re.findall(r"\d+", network)])
    found = []
    for layer, text in enumerate(network.split("+"), start=1):
        name, *skips = text.split("~")
        numbers = [int(skip) for skip in skips if skip.isdecimal()]
        good = re.fullmatch(r"[A-Za-z_]\w*", name) and len(numbers) == len(skips)
        if not good or numbers != sorted(set(numbers)) or any(not 1 <= number < layer for number in numbers):
            raise InputError(
                f"layer {layer} of '{network}' must read operation~skip~skip, skips in order from 1 to {layer - 1}, got '{text}'"
                if layer > 1
                else f"layer 1 of '{network}' must read operation, got '{text}'"
            )
        found.append((name, tuple(numbers)))
    return tuple(found)


def places_of(layers: int) -> tuple[int, ...]:
    """The layers, counted from 1, after which images are halved: none where there are fewer than three."""
    return (layers // 3, 2 * (layers // 3)) if layers >= 3 else ()


def show_layers(layers: Layers) -> str:
    """The network's string; `parse_layers` comes back."""
    return "+".join("~".join((name, *map(str, skips))) for name, skips in layers)


def layers_of(numbers: Sequence[int]) -> Layers:
    """The layers that ENAS's integers stand for: of layer i its operation and i - 1 zeros and ones, 78 for 12 layers."""
    left = list(numbers)
    found: list[tuple[str, tuple[int, ...]]] = []
    while left:
        layer = len(found) + 1
        row, left = left[:layer], left[layer:]
        if len(row) < layer:
            whole = [count * (count + 1) // 2 for count in range(1, layer + 1)]
            raise InputError(
                f"layer i takes i integers: {whole[-2] if layer > 1 else 0} or {whole[-1]} in all, got {len(numbers)}"
            )
        if not 0 <= row[0] < len(OPERATIONS):
            known = ", ".join(f"{place} {name}" for place, name in enumerate(OPERATIONS))
            raise InputError(f"unknown operation {row[0]} of layer {layer}. Known: {known}")
        if set(row[1:]) - {0, 1}:
            raise InputError(f"layer {layer}: a skip is 0 or 1, got {row[1:]}")
        found.append((OPERATIONS[row[0]], tuple(source for source, skip in enumerate(row[1:], start=1) if skip)))
    if not found:
        raise InputError("a macro network has a layer at least, got no integers")
    return tuple(found)


def integers_of_layers(layers: Layers) -> list[int]:
    """The integers that ENAS prints for these layers; `layers_of` comes back."""
    numbers = []
    for layer, (name, skips) in enumerate(layers, start=1):
        if name not in OPERATIONS:
            raise InputError(f"ENAS's integers have no '{name}'. Known: {', '.join(OPERATIONS)}")
        numbers += [OPERATIONS.index(name), *(int(source in skips) for source in range(1, layer))]
    return numbers


class Macro(Domain):
    """The domain of macro networks with `layers` layers."""

    default_sampler_cls = kinds.Drawn

    def __init__(self, *, layers: int = 12, operations: list[str] | None = None):
        operations = list(OPERATIONS) if operations is None else operations
        if not 1 <= layers <= 64:
            raise InputError(f"macro: layers is from 1 to 64, got {layers}")
        if not operations or len(set(operations)) < len(operations):
            raise InputError(f"macro: operations must be different names, got {operations}")
        for name in operations:
            if not re.fullmatch(r"[A-Za-z_]\w*", name):
                raise InputError(f"macro: an operation's name is letters, digits and '_', got '{name}'")
        self.layers, self.operations = layers, tuple(operations)

    def is_valid(self, value: Any) -> bool:
        return kinds.contains(self, value)

    @property
    def domain_str(self) -> str:
        return f"macro network of {self.layers} layers and {len(self.operations)} operations"


@kinds.genes.register
def _(domain: Macro) -> dict[str, Domain]:
    from ray import tune

    genes: dict[str, Domain] = {}
    for layer in range(1, domain.layers + 1):
        genes[f"{layer}"] = tune.choice(list(domain.operations))
        genes |= {f"{source}>{layer}": tune.choice([0, 1]) for source in range(1, layer)}
    return genes


@kinds.to_genes.register
def _(domain: Macro, value: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for layer, (name, skips) in enumerate(parse_layers(value), start=1):
        values[f"{layer}"] = name
        values |= {f"{source}>{layer}": int(source in skips) for source in range(1, layer)}
    return values


@kinds.from_genes.register
def _(domain: Macro, values: dict[str, Any]) -> str:
    return show_layers(
        tuple(
            (values[f"{layer}"], tuple(source for source in range(1, layer) if values[f"{source}>{layer}"]))
            for layer in range(1, domain.layers + 1)
        )
    )


@kinds.draw.register
def _(domain: Macro, rng: np.random.Generator) -> str:
    return show_layers(
        tuple(
            (
                domain.operations[rng.integers(len(domain.operations))],
                tuple(source for source in range(1, layer) if rng.random() < 0.5),
            )
            for layer in range(1, domain.layers + 1)
        )
    )


@kinds.contains.register
def _(domain: Macro, value: Any) -> bool:
    if not isinstance(value, str) or value[:1].isdecimal():
        return False
    try:
        layers = parse_layers(value)
    except InputError:
        return False
    return len(layers) == domain.layers and all(name in domain.operations for name, _ in layers)


@kinds.mutate.register
def _(domain: Macro, value: str, rng: np.random.Generator) -> str:
    """A layer, chosen evenly, gets another operation, or one of its skips is turned: one of its decisions, evenly."""
    genes = kinds.to_genes(domain, value)
    several = len(domain.operations) > 1
    if not several and domain.layers == 1:
        return value
    layer = int(rng.integers(1 if several else 2, domain.layers + 1))
    place = int(rng.integers(0 if several else 1, layer))
    if place:
        genes[f"{place}>{layer}"] = 1 - genes[f"{place}>{layer}"]
    else:
        others = [name for name in domain.operations if name != genes[f"{layer}"]]
        genes[f"{layer}"] = others[rng.integers(len(others))]
    return kinds.from_genes(domain, genes)


@kinds.cross.register
def _(domain: Macro, one: str, other: str, rng: np.random.Generator) -> str:
    """Every layer, its skips with it, from one of the two."""
    layers = zip(parse_layers(one), parse_layers(other), rng.random(domain.layers) < 0.5, strict=True)
    return show_layers(tuple(mine if first else theirs for mine, theirs, first in layers))


@kinds.size.register
def _(domain: Macro) -> int | float:
    return len(domain.operations) ** domain.layers * 2 ** (domain.layers * (domain.layers - 1) // 2)


@kinds.levels.register
def _(domain: Macro) -> list[Any] | None:
    if kinds.size(domain) > kinds.ENUMERABLE:
        return None
    from itertools import product

    genes = kinds.genes(domain)
    values = [gene.categories for gene in genes.values()]
    return [kinds.from_genes(domain, dict(zip(genes, chosen, strict=True))) for chosen in product(*values)]


@kinds.show.register
def _(domain: Macro) -> dict[str, Any]:
    return {"macro": {"layers": domain.layers, "operations": list(domain.operations)}}
