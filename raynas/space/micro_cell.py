"""Cells of two inputs: every node adds two operations, each on an earlier node (ENAS micro, DARTS, GeneticNAS).

The grammar is that of dense cells with the sources free: `|sep_conv_3x3~0|skip_connect~1|+|…|`, nodes joined by '+', the
two edges of a node between '|', each `operation~node it comes from`. Nodes 0 and 1 are the outputs of the cell before the
last and of the last, and are not written; the first that is written is node 2. What no node uses (inputs too) is
concatenated: the cell's output.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np
from ray.tune.search.sample import Domain

from raynas.space import kinds
from raynas.tables import InputError, look_up

OPERATIONS = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect")  # in ENAS's order
INPUTS = 2
TWO_CELLS = 40  # integers, as papers print an architecture of five nodes a cell

Edge = tuple[str, int]
Pair = tuple[Edge, Edge]
Pairs = tuple[Pair, ...]
"""For nodes 2, 3, …: their two (operation, source)."""


@dataclass(frozen=True)
class Layout:
    """How a paper prints cells as integers: where (source, operation, source, operation) of a node stand among its four,
    the operations by number, and which number the older input (our node 0) has."""

    places: tuple[int, int, int, int]
    operations: tuple[str, ...]
    older: int

    def source(self, number: int) -> int:
        """Our number of a source, or the paper's of ours: the two inputs may be swapped."""
        return number ^ self.older if number < INPUTS else number


LAYOUTS = {
    "enas": Layout((0, 1, 2, 3), OPERATIONS, 0),  # Pham et al., 2018, and its code
    "genetic-nas": Layout(  # Habi & Rafalovich, 2019: input A, input B, operation A, operation B
        (0, 2, 1, 3), ("sep_conv_3x3", "skip_connect", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3"), 1
    ),
}


def parse_pairs(cell: str) -> Pairs:
    """The nodes of a cell: by the grammar, or by ENAS's integers ('1 2 1 3 0 1 …'). Raises InputError."""
    if not isinstance(cell, str) or not cell:
        raise InputError(f"a cell is a string like '|sep_conv_3x3~0|skip_connect~1|', got {cell!r}")
    if re.fullmatch(r"[\d\s,]+", cell):
        return pairs_of([int(number[:9]) for number in re.findall(r"\d+", cell)])
    found = []
    for node, text in enumerate(cell.split("+"), start=INPUTS):
        edges = [re.fullmatch(r"(\w+)~(\d+)", edge) for edge in text[1:-1].split("|")]
        good = [edge for edge in edges if edge is not None and int(edge[2]) < node]
        if not (text.startswith("|") and text.endswith("|") and len(edges) == len(good) == 2):
            raise InputError(
                f"node {node} of '{cell}' must read |operation~source|operation~source|, sources 0 to {node - 1}, got '{text}'"
            )
        found.append(((good[0][1], int(good[0][2])), (good[1][1], int(good[1][2]))))
    return tuple(found)


def show_pairs(pairs: Pairs) -> str:
    """The cell string; `parse_pairs` comes back."""
    return "+".join(f"|{one}~{first}|{other}~{second}|" for (one, first), (other, second) in pairs)


def pairs_of(numbers: Sequence[int], layout: str = "enas") -> Pairs:
    """The nodes that a paper's integers stand for: four a node, 20 for five nodes. Raises InputError."""
    how = look_up("layout", layout, LAYOUTS)
    if len(numbers) == TWO_CELLS:
        raise InputError("40 integers are two cells of 20: the first is 'normal', the second 'reduction'")
    if not numbers or len(numbers) % 4:
        raise InputError(f"a cell has four integers a node (20 for 5 nodes), got {len(numbers)}")
    found = []
    for node, start in enumerate(range(0, len(numbers), 4), start=INPUTS):
        one, first, other, second = (int(numbers[start + place]) for place in how.places)
        for source in (one, other):
            if not 0 <= source < node:
                raise InputError(f"node {node} takes its inputs from nodes 0 to {node - 1}, got {source}")
        for number in (first, second):
            if not 0 <= number < len(how.operations):
                known = ", ".join(f"{place} {name}" for place, name in enumerate(how.operations))
                raise InputError(f"unknown operation {number} of node {node}. Known: {known}")
        found.append(((how.operations[first], how.source(one)), (how.operations[second], how.source(other))))
    return tuple(found)


def integers_of(pairs: Pairs, layout: str = "enas") -> list[int]:
    """The integers that a paper prints for these nodes; `pairs_of` comes back."""
    how = look_up("layout", layout, LAYOUTS)
    number_of = {name: number for number, name in enumerate(how.operations)}
    numbers = []
    for pair in pairs:
        plain = []
        for name, source in pair:
            plain += [how.source(source), look_up(f"operation of {layout}'s integers", name, number_of)]
        numbers += [plain[how.places.index(place)] for place in range(4)]
    return numbers


def loose_ends(pairs: Pairs) -> list[int]:
    """The nodes, inputs included, that no node uses."""
    used = {source for pair in pairs for _, source in pair}
    return [node for node in range(INPUTS + len(pairs)) if node not in used]


def reducing(layers: int, reductions: int) -> tuple[int, ...]:
    """Which of the `layers` + 2 cells reduce: ENAS's two places, or the three of its MNIST fork."""
    if reductions == 3 and layers < 2:
        raise InputError("three reductions need two layers or more, got 1")
    if reductions == 2:
        return layers // 3, 2 * (layers // 3) + 1
    return layers // 4, 2 * (layers // 4) + 1, layers


def canonical_pairs(pairs: Pairs) -> Pairs:
    """The same for isomorphic cells: the order of a node's two inputs and of nodes means nothing.

    Nodes are ordered by what they are made of and what is made of them (colour refinement); those that stay alike are
    tried in every order.
    """
    count = len(pairs)
    colours = [repr(index) if index < INPUTS else "" for index in range(INPUTS + count)]
    for _ in range(count):
        made = [repr(sorted((name, colours[source]) for name, source in pair)) for pair in pairs]
        used: list[list[tuple[str, str, str]]] = [[] for _ in colours]
        for node, pair in enumerate(pairs, start=INPUTS):
            for (name, source), (beside, other) in (pair, pair[::-1]):
                used[source].append((name, colours[node], f"{beside}{colours[other]}"))
        texts = [
            repr((colours[index], made[index - INPUTS] if index >= INPUTS else "", sorted(used[index])))
            for index in range(len(colours))
        ]
        ranks = {text: rank for rank, text in enumerate(sorted(set(texts)))}
        colours = [repr(index) if index < INPUTS else f"c{ranks[texts[index]]}" for index in range(len(colours))]
    alike: dict[str, list[int]] = {}
    for node in range(INPUTS, INPUTS + count):
        alike.setdefault(colours[node], []).append(node)
    groups = [
        list(permutations(alike[colour])) if len(alike[colour]) <= 4 else [tuple(alike[colour])]
        for colour in sorted(alike)
    ]
    return min(_in_order(pairs, [node for group in order for node in group]) for order in product(*groups))


def _in_order(pairs: Pairs, order: list[int]) -> Pairs:
    """The nodes renumbered: of those whose inputs are there, the first in `order` comes next."""
    place = {index: index for index in range(INPUTS)}
    left = list(order)
    made: list[Pair] = []
    while left:
        node = next(node for node in left if all(source in place for _, source in pairs[node - INPUTS]))
        left.remove(node)
        one, other = sorted((name, place[source]) for name, source in pairs[node - INPUTS])
        place[node] = INPUTS + len(made)
        made.append((one, other))
    return tuple(made)


class MicroCell(Domain):
    """The domain of two-input cells with `nodes` nodes beside the two inputs."""

    default_sampler_cls = kinds.Drawn

    def __init__(self, *, nodes: int = 5, operations: list[str] | None = None):
        operations = list(OPERATIONS) if operations is None else operations
        if not 1 <= nodes <= 12:
            raise InputError(f"micro_cell: nodes is from 1 to 12, got {nodes}")
        if not operations or len(set(operations)) < len(operations):
            raise InputError(f"micro_cell: operations must be different names, got {operations}")
        for name in operations:
            if not re.fullmatch(r"[A-Za-z_]\w*", name):
                raise InputError(f"micro_cell: an operation's name is letters, digits and '_', got '{name}'")
        self.nodes, self.operations = nodes, tuple(operations)

    def is_valid(self, value: Any) -> bool:
        return kinds.contains(self, value)

    @property
    def domain_str(self) -> str:
        return f"two-input cell of {self.nodes} nodes and {len(self.operations)} operations"


def _decisions(domain: MicroCell) -> list[tuple[str, list[Any]]]:
    """Every decision of a cell with its values: of node 2 its two sources and its two operations, then of node 3, …"""
    found: list[tuple[str, list[Any]]] = []
    for node in range(INPUTS, INPUTS + domain.nodes):
        found += [(f"{node}{side}<", list(range(node))) for side in "ab"]
        found += [(f"{node}{side}", list(domain.operations)) for side in "ab"]
    return found


@kinds.genes.register
def _(domain: MicroCell) -> dict[str, Domain]:
    from ray import tune

    return {name: tune.choice(values) for name, values in _decisions(domain)}


@kinds.to_genes.register
def _(domain: MicroCell, value: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for node, pair in enumerate(parse_pairs(value), start=INPUTS):
        values |= {f"{node}{side}<": source for side, (_, source) in zip("ab", pair, strict=True)}
        values |= {f"{node}{side}": name for side, (name, _) in zip("ab", pair, strict=True)}
    return values


@kinds.from_genes.register
def _(domain: MicroCell, values: dict[str, Any]) -> str:
    return show_pairs(
        tuple(
            ((values[f"{node}a"], values[f"{node}a<"]), (values[f"{node}b"], values[f"{node}b<"]))
            for node in range(INPUTS, INPUTS + domain.nodes)
        )
    )


@kinds.draw.register
def _(domain: MicroCell, rng: np.random.Generator) -> str:
    return kinds.from_genes(domain, {name: values[rng.integers(len(values))] for name, values in _decisions(domain)})


@kinds.contains.register
def _(domain: MicroCell, value: Any) -> bool:
    if not isinstance(value, str) or not value.startswith("|"):
        return False
    try:
        pairs = parse_pairs(value)
    except InputError:
        return False
    return len(pairs) == domain.nodes and all(name in domain.operations for pair in pairs for name, _ in pair)


@kinds.mutate.register
def _(domain: MicroCell, value: str, rng: np.random.Generator) -> str:
    """One decision, chosen evenly, gets another value."""
    genes = kinds.to_genes(domain, value)
    free = [(name, values) for name, values in _decisions(domain) if len(values) > 1]
    name, values = free[rng.integers(len(free))]
    others = [other for other in values if other != genes[name]]
    return kinds.from_genes(domain, {**genes, name: others[rng.integers(len(others))]})


@kinds.cross.register
def _(domain: MicroCell, one: str, other: str, rng: np.random.Generator) -> str:
    """Every node from one of the two."""
    nodes = zip(parse_pairs(one), parse_pairs(other), rng.random(domain.nodes) < 0.5, strict=True)
    return show_pairs(tuple(mine if first else theirs for mine, theirs, first in nodes))


@kinds.size.register
def _(domain: MicroCell) -> int | float:
    return math.prod(len(values) for _, values in _decisions(domain))


@kinds.levels.register
def _(domain: MicroCell) -> list[Any] | None:
    if kinds.size(domain) > kinds.ENUMERABLE:
        return None
    names, values = zip(*_decisions(domain), strict=True)
    return [kinds.from_genes(domain, dict(zip(names, chosen, strict=True))) for chosen in product(*values)]


@kinds.canonical.register
def _(domain: MicroCell, value: str) -> str:
    return show_pairs(canonical_pairs(parse_pairs(value)))


@kinds.show.register
def _(domain: MicroCell) -> dict[str, Any]:
    return {"micro_cell": {"nodes": domain.nodes, "operations": list(domain.operations)}}
