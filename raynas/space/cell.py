"""Dense cells: an edge between every two nodes, an operation on every edge.

The grammar is NAS-Bench-201's (Dong & Yang, 2020): nodes are joined by '+', the edges into a node stand between '|', an
edge is `operation~node it comes from`, as in `|skip_connect~0|+|none~0|nor_conv_3x3~1|`. Node 0 is the cell's input and
is not written; the last node is its output. A node is the sum of what its edges bring.
"""

import re
from itertools import product
from typing import Any

import numpy as np
from ray.tune.search.sample import Domain

from raynas.space import kinds
from raynas.tables import InputError

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
ZERO, SAME = "none", "skip_connect"
LONGEST = 3  # edges of a path that is a feature

Nodes = tuple[tuple[str, ...], ...]
"""The operations on the edges into node 1, into node 2, …, each from node 0 on."""


def parse(cell: str) -> Nodes:
    """The operations of a cell string. Raises InputError."""
    if not isinstance(cell, str) or not cell:
        raise InputError(f"a cell is a string like '|skip_connect~0|+|none~0|nor_conv_3x3~1|', got {cell!r}")
    found = []
    for number, text in enumerate(cell.split("+"), start=1):
        edges = text.strip("|").split("|")
        pairs = [edge.rpartition("~") for edge in edges]
        framed = text.startswith("|") and text.endswith("|")
        if not framed or [source for _, _, source in pairs] != [str(index) for index in range(number)]:
            span = "node 0" if number == 1 else f"nodes 0..{number - 1} in order"
            raise InputError(f"node {number} of '{cell}' must read {span}, got '{text}'")
        found.append(tuple(operation for operation, _, _ in pairs))
    return tuple(found)


def show_cell(nodes: Nodes) -> str:
    """The cell string; `parse` comes back."""
    return "+".join(
        "|" + "|".join(f"{operation}~{source}" for source, operation in enumerate(node)) + "|" for node in nodes
    )


def unique(cell: str) -> str:
    """The same text for isomorphic cells: what reaches the output, with zeroed edges, identities and the order of sums
    resolved (the paper's appendix; the dense space of 15,625 cells has 6,466 such texts)."""
    reached = ["0"]
    for node in parse(cell):
        terms = []
        for source, operation in enumerate(node):
            before = reached[source]
            if operation == ZERO or before == "#":
                terms.append("#")
            else:
                terms.append(before if operation == SAME else f"({before})@{operation}")
        reached.append("+".join(sorted(terms)))
    return reached[-1]


class Cell(Domain):
    """The domain of cell strings: `nodes` counts the input, so that 4 nodes have 6 edges (NAS-Bench-201)."""

    default_sampler_cls = kinds.Drawn

    def __init__(self, *, nodes: int = 4, operations: list[str] | None = None):
        operations = list(OPERATIONS) if operations is None else operations
        if not 2 <= nodes <= 12:
            raise InputError(f"cell: nodes is from 2 to 12, got {nodes}")
        if not operations or len(set(operations)) < len(operations):
            raise InputError(f"cell: operations must be different names, got {operations}")
        for name in operations:
            if not re.fullmatch(r"\w+", name):
                raise InputError(f"cell: an operation's name is letters, digits and '_', got '{name}'")
        self.nodes, self.operations = nodes, tuple(operations)

    @property
    def edges(self) -> list[tuple[int, int]]:
        """(from, to) of every edge, in the order of the grammar."""
        return [(source, node) for node in range(1, self.nodes) for source in range(node)]

    def is_valid(self, value: Any) -> bool:
        return kinds.contains(self, value)

    @property
    def domain_str(self) -> str:
        return f"cell of {self.nodes} nodes and {len(self.operations)} operations"


def _from_edges(domain: Cell, operations: list[str]) -> str:
    left = iter(operations)
    return show_cell(tuple(tuple(next(left) for _ in range(node)) for node in range(1, domain.nodes)))


def _edges(value: str) -> list[str]:
    return [operation for node in parse(value) for operation in node]


@kinds.genes.register
def _(domain: Cell) -> dict[str, Domain]:
    from ray import tune

    return {f"{source}>{node}": tune.choice(list(domain.operations)) for source, node in domain.edges}


@kinds.to_genes.register
def _(domain: Cell, value: str) -> dict[str, Any]:
    return {f"{source}>{node}": name for (source, node), name in zip(domain.edges, _edges(value), strict=True)}


@kinds.from_genes.register
def _(domain: Cell, values: dict[str, Any]) -> str:
    return _from_edges(domain, [values[f"{source}>{node}"] for source, node in domain.edges])


@kinds.draw.register
def _(domain: Cell, rng: np.random.Generator) -> str:
    drawn = rng.integers(len(domain.operations), size=len(domain.edges))
    return _from_edges(domain, [domain.operations[index] for index in drawn])


@kinds.contains.register
def _(domain: Cell, value: Any) -> bool:
    try:
        nodes = parse(value)
    except InputError:
        return False
    return len(nodes) == domain.nodes - 1 and all(name in domain.operations for node in nodes for name in node)


@kinds.mutate.register
def _(domain: Cell, value: str, rng: np.random.Generator) -> str:
    """One edge, chosen evenly, gets another operation (Real et al., 2019; evenly among edges, not among nodes first)."""
    operations = _edges(value)
    if len(domain.operations) == 1:
        return value
    edge = int(rng.integers(len(operations)))
    others = [name for name in domain.operations if name != operations[edge]]
    operations[edge] = others[rng.integers(len(others))]
    return _from_edges(domain, operations)


@kinds.cross.register
def _(domain: Cell, one: str, other: str, rng: np.random.Generator) -> str:
    """Every edge from one of the two."""
    pairs = zip(_edges(one), _edges(other), rng.random(len(domain.edges)) < 0.5, strict=True)
    return _from_edges(domain, [mine if first else theirs for mine, theirs, first in pairs])


@kinds.features.register
def _(domain: Cell, value: str) -> np.ndarray:
    """The path encoding (White et al., 2021): one place for each sequence of operations on a way from input to output,
    zeroed edges left out, ways of more than three edges too."""
    nodes = parse(value)
    ways: list[set[tuple[str, ...]]] = [{()}]
    for node in nodes:
        into = set()
        for source, operation in enumerate(node):
            if operation != ZERO:
                into |= {(*way, operation) for way in ways[source] if len(way) < LONGEST}
        ways.append(into)
    names = [name for name in domain.operations if name != ZERO]
    places = [way for length in range(1, min(LONGEST, domain.nodes - 1) + 1) for way in product(names, repeat=length)]
    return np.array([float(way in ways[-1]) for way in places])


@kinds.size.register
def _(domain: Cell) -> int | float:
    return len(domain.operations) ** len(domain.edges)


@kinds.levels.register
def _(domain: Cell) -> list[Any] | None:
    if kinds.size(domain) > kinds.ENUMERABLE:
        return None
    return [_from_edges(domain, list(names)) for names in product(domain.operations, repeat=len(domain.edges))]


@kinds.canonical.register
def _(domain: Cell, value: str) -> str:
    return unique(value)


@kinds.show.register
def _(domain: Cell) -> dict[str, Any]:
    return {"cell": {"nodes": domain.nodes, "operations": list(domain.operations)}}
