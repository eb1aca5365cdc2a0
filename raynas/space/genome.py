"""The layered genome: a chain of convolutions written `NC 48 5 swish;RC 39 3 tanh;FL gelu`.

`NC filters kernel activation` is a convolution, `RC` one that halves the side (stride 2), `FL activation` the
fully connected end. Source: the genome grammar of the CSL7540 course skeleton (IIT Jodhpur, 2021) behind the
genetic search on Fashion-MNIST. A genome has N layers with FL; the first is NC and exactly `reductions` are RC.
"""

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from ray.tune.search.sample import Domain

from raynas.space import kinds
from raynas.tables import InputError, nearest

ACTIVATIONS = ("relu", "sigmoid", "tanh", "swish", "gelu")


class Layer(NamedTuple):
    """One gene of a genome; FL has no filters and no kernel (0)."""

    kind: str
    filters: int
    kernel: int
    activation: str


Layers = tuple[Layer, ...]


def _parse_layer(number: int, text: str, genome: str) -> Layer:
    words = text.split()
    wanted = "'FL activation'" if words and words[0] == "FL" else "'NC|RC filters kernel activation' or 'FL activation'"
    problem = f"layer {number} of '{genome}' must read {wanted}, got '{text.strip()}'"
    if not words or words[0] not in ("NC", "RC", "FL") or len(words) != (2 if words[0] == "FL" else 4):
        raise InputError(problem)
    if words[-1] not in ACTIVATIONS:
        raise InputError(
            f"{problem}: unknown activation.{nearest(words[-1], ACTIVATIONS)} Known: {', '.join(ACTIVATIONS)}"
        )
    if words[0] == "FL":
        return Layer("FL", 0, 0, words[1])
    if not (words[1].isascii() and words[1].isdigit() and words[2].isascii() and words[2].isdigit()):
        raise InputError(f"{problem}: filters and kernel are whole numbers")
    filters, kernel = int(words[1]), int(words[2])
    if filters < 1 or kernel < 1:
        raise InputError(f"{problem}: filters and kernel are at least 1")
    return Layer(words[0], filters, kernel, words[3])


def parse(genome: str) -> Layers:
    """The layers of a genome string; blanks around ';' and a final ';' are allowed. Raises InputError."""
    if not isinstance(genome, str):
        raise InputError(f"a genome is a string like 'NC 48 5 swish;RC 39 3 tanh;FL gelu', got {genome!r}")
    texts = genome.strip().removesuffix(";").split(";")
    layers = tuple(_parse_layer(number, text, genome) for number, text in enumerate(texts, start=1))
    ends = [number for number, layer in enumerate(layers, start=1) if layer.kind == "FL"]
    if ends != [len(layers)] or len(layers) < 2:
        raise InputError(f"'{genome}' must have convolutions and end with its only FL layer")
    return layers


def show_layers(layers: Layers) -> str:
    """The genome string; `parse` comes back."""
    words = [
        f"FL {layer.activation}" if layer.kind == "FL" else " ".join(str(part) for part in layer) for layer in layers
    ]
    return ";".join(words)


class Genome(Domain):
    """The domain of genome strings.

    `layers` = (fewest, most) counts FL; fewer than `reductions` + 2 layers cannot meet the rules, so a depth is drawn
    evenly from max(fewest, reductions + 2) to most. `filters` = (fewest, most), both possible.
    `depth_mutation` is the share of mutations that insert or remove a layer (0 in the paper).
    """

    default_sampler_cls = kinds.Drawn

    def __init__(
        self,
        *,
        layers: list[int],
        filters: list[int],
        kernels: list[int],
        activations: list[str] | None = None,
        reductions: int = 2,
        depth_mutation: float = 0.0,
    ):
        activations = list(ACTIVATIONS) if activations is None else activations
        for name, pair in (("layers", layers), ("filters", filters)):
            if len(pair) != 2 or not all(isinstance(end, int) for end in pair) or not 1 <= pair[0] <= pair[1]:
                raise InputError(f"genome: {name} must be [fewest, most], got {pair}")
        if not kernels or min(kernels) < 1 or len(set(kernels)) < len(kernels):
            raise InputError(f"genome: kernels must be different sizes of at least 1, got {kernels}")
        for activation in activations:
            if activation not in ACTIVATIONS:
                known = ", ".join(ACTIVATIONS)
                hint = nearest(str(activation), ACTIVATIONS)
                raise InputError(f"genome: unknown activation '{activation}'.{hint} Known: {known}")
        if not activations or len(set(activations)) < len(activations):
            raise InputError(f"genome: activations must be different names, got {activations}")
        if reductions < 0 or layers[1] < reductions + 2:
            raise InputError(
                f"genome: {reductions} reductions need at least {reductions + 2} layers, got at most {layers[1]}"
            )
        if math.comb(max(layers[1] - 2, 0), reductions) > 100_000:
            raise InputError(
                f"genome: {reductions} reductions among {layers[1]} layers stand in too many ways; use fewer of either"
            )
        if not 0 <= depth_mutation <= 1:
            raise InputError(f"genome: depth_mutation is a share in [0, 1], got {depth_mutation}")
        self.layers, self.filters = tuple(layers), tuple(filters)
        self.kernels, self.activations = tuple(kernels), tuple(activations)
        self.reductions, self.depth_mutation = reductions, depth_mutation

    @property
    def depths(self) -> range:
        """The numbers of layers, FL included, that a genome can have."""
        return range(max(self.layers[0], self.reductions + 2), self.layers[1] + 1)

    def places(self, depth: int) -> list[tuple[int, ...]]:
        """Where the reductions can stand in a genome of `depth` layers (0 is the first layer, always NC)."""
        return list(combinations(range(1, depth - 1), self.reductions))

    def is_valid(self, value: Any) -> bool:
        return kinds.contains(self, value)

    @property
    def domain_str(self) -> str:
        return f"genome of {self.depths[0]}..{self.depths[-1]} layers"


def _genes(domain: Genome) -> dict[str, Domain]:
    from ray import tune

    found: dict[str, Domain] = {
        "layers": tune.randint(domain.depths[0], domain.depths[-1] + 1),
        "reductions": tune.randint(0, len(domain.places(domain.depths[-1]))),
    }
    for place in range(domain.depths[-1] - 1):
        found[f"{place + 1}.filters"] = tune.randint(domain.filters[0], domain.filters[1] + 1)
        found[f"{place + 1}.kernel"] = tune.choice(list(domain.kernels))
        found[f"{place + 1}.activation"] = tune.choice(list(domain.activations))
    return found | {"end.activation": tune.choice(list(domain.activations))}


def _to_genes(domain: Genome, value: str) -> dict[str, Any]:
    layers = parse(value)
    places, most = domain.places(len(layers)), len(domain.places(domain.depths[-1]))
    place = places.index(tuple(index for index, layer in enumerate(layers) if layer.kind == "RC"))
    found: dict[str, Any] = {"layers": len(layers), "reductions": -(-place * most // len(places))}
    for index in range(domain.depths[-1] - 1):  # genes of layers that are not there lie at their first value
        there = index < len(layers) - 1
        found[f"{index + 1}.filters"] = layers[index].filters if there else domain.filters[0]
        found[f"{index + 1}.kernel"] = layers[index].kernel if there else domain.kernels[0]
        found[f"{index + 1}.activation"] = layers[index].activation if there else domain.activations[0]
    return found | {"end.activation": layers[-1].activation}


def _from_genes(domain: Genome, values: dict[str, Any]) -> str:
    depth = int(values["layers"])
    places, most = domain.places(depth), len(domain.places(domain.depths[-1]))
    reduced = places[int(values["reductions"]) * len(places) // most]  # shallower genomes have fewer places: scaled
    layers = [
        Layer(
            "RC" if index in reduced else "NC",
            int(values[f"{index + 1}.filters"]),
            int(values[f"{index + 1}.kernel"]),
            values[f"{index + 1}.activation"],
        )
        for index in range(depth - 1)
    ]
    return show_layers((*layers, Layer("FL", 0, 0, values["end.activation"])))


kinds.genes.register(Genome)(_genes)
kinds.to_genes.register(Genome)(_to_genes)
kinds.from_genes.register(Genome)(_from_genes)


@kinds.draw.register
def _(domain: Genome, rng: np.random.Generator) -> str:
    return _from_genes(domain, {name: kinds.draw(gene, rng) for name, gene in _genes(domain).items()})


@kinds.contains.register
def _(domain: Genome, value: Any) -> bool:
    try:
        layers = parse(value)
    except InputError:
        return False
    body = layers[:-1]
    return (
        len(layers) in domain.depths
        and body[0].kind == "NC"
        and sum(layer.kind == "RC" for layer in body) == domain.reductions
        and all(domain.filters[0] <= layer.filters <= domain.filters[1] for layer in body)
        and all(layer.kernel in domain.kernels for layer in body)
        and all(layer.activation in domain.activations for layer in layers)
    )


def _other(known: tuple[Any, ...], value: Any, rng: np.random.Generator) -> Any:
    others = [item for item in known if item != value]
    return others[rng.integers(len(others))]


def _change_kernel(domain: Genome, layers: Layers, rng: np.random.Generator) -> Layers:
    at = int(rng.integers(len(layers) - 1))
    return _put(layers, at, layers[at]._replace(kernel=_other(domain.kernels, layers[at].kernel, rng)))


def _change_filters(domain: Genome, layers: Layers, rng: np.random.Generator) -> Layers:
    at = int(rng.integers(len(layers) - 1))
    fewer = range(domain.filters[0], layers[at].filters)
    more = range(layers[at].filters + 1, domain.filters[1] + 1)
    chosen = int(rng.integers(len(fewer) + len(more)))
    return _put(
        layers, at, layers[at]._replace(filters=fewer[chosen] if chosen < len(fewer) else more[chosen - len(fewer)])
    )


def _change_activation(domain: Genome, layers: Layers, rng: np.random.Generator) -> Layers:
    at = int(rng.integers(len(layers)))
    return _put(layers, at, layers[at]._replace(activation=_other(domain.activations, layers[at].activation, rng)))


def _change_depth(domain: Genome, layers: Layers, rng: np.random.Generator) -> Layers:
    """Insert a random NC after the first layer, or take out an NC that is not the first."""
    spare = [at for at, layer in enumerate(layers[:-1]) if at > 0 and layer.kind == "NC"]
    can_shrink = len(layers) > domain.depths[0] and bool(spare)
    if can_shrink and (len(layers) == domain.depths[-1] or rng.random() < 0.5):
        at = spare[rng.integers(len(spare))]
        return layers[:at] + layers[at + 1 :]
    at = int(rng.integers(1, len(layers)))
    fresh = Layer(
        "NC",
        int(rng.integers(domain.filters[0], domain.filters[1] + 1)),
        int(domain.kernels[rng.integers(len(domain.kernels))]),
        str(domain.activations[rng.integers(len(domain.activations))]),
    )
    return (*layers[:at], fresh, *layers[at:])


def _put(layers: Layers, at: int, layer: Layer) -> Layers:
    return (*layers[:at], layer, *layers[at + 1 :])


Change = Callable[[Genome, Layers, np.random.Generator], Layers]


def changes(domain: Genome, layers: Layers) -> list[tuple[float, Change]]:
    """The mutations open to a genome with their weights: the paper's table (kernel .13, filters .42, activation .45)."""
    plain = 1.0 - domain.depth_mutation
    spare = any(layer.kind == "NC" for layer in layers[1:-1])
    table: list[tuple[float, Change, bool]] = [
        (0.13 * plain, _change_kernel, len(domain.kernels) > 1),
        (0.42 * plain, _change_filters, domain.filters[0] < domain.filters[1]),
        (0.45 * plain, _change_activation, len(domain.activations) > 1),
        (
            domain.depth_mutation,
            _change_depth,
            len(layers) < domain.depths[-1] or (spare and len(layers) > domain.depths[0]),
        ),
    ]
    possible_ones = [(weight, change) for weight, change, possible in table if possible]
    return [(weight, change) for weight, change in possible_ones if weight > 0] or [
        (1.0, change) for _, change in possible_ones
    ]


@kinds.mutate.register
def _(domain: Genome, value: str, rng: np.random.Generator) -> str:
    layers = parse(value)
    table = changes(domain, layers)
    if not table:
        return value
    weights = np.cumsum([weight for weight, _ in table])
    chosen = int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))
    return show_layers(table[min(chosen, len(table) - 1)][1](domain, layers, rng))


def _one_point(domain: Genome, one: Layers, other: Layers, rng: np.random.Generator) -> Layers:
    """The head of one parent and the tail of the other, cut where depth and number of reductions stay right."""
    heads = np.cumsum([layer.kind == "RC" for layer in one])
    tails = np.cumsum([layer.kind == "RC" for layer in other][::-1])[::-1]
    cuts = [
        (head, tail)
        for head in range(1, len(one))
        for tail in range(1, len(other))
        if head + len(other) - tail in domain.depths and heads[head - 1] + tails[tail] == domain.reductions
    ]
    if not cuts:
        return _uniform(domain, one, other, rng)
    head, tail = cuts[rng.integers(len(cuts))]
    return one[:head] + other[tail:]


def _uniform(domain: Genome, one: Layers, other: Layers, rng: np.random.Generator) -> Layers:
    """The plan of one parent; each gene from it or from the other parent's layer of the same kind and rank."""
    donors = {kind: [layer for layer in other if layer.kind == kind] for kind in ("NC", "RC", "FL")}
    seen = {"NC": 0, "RC": 0, "FL": 0}
    child = []
    for layer in one:
        rank, seen[layer.kind] = seen[layer.kind], seen[layer.kind] + 1
        donor = donors[layer.kind][rank] if rank < len(donors[layer.kind]) else layer
        genes = [mine if rng.random() < 0.5 else theirs for mine, theirs in zip(layer[1:], donor[1:], strict=True)]
        child.append(Layer._make([layer.kind, *genes]))
    return tuple(child)


@kinds.cross.register
def _(domain: Genome, one: str, other: str, rng: np.random.Generator) -> str:
    manner = _one_point if rng.random() < 0.5 else _uniform
    return show_layers(manner(domain, parse(one), parse(other), rng))


@kinds.size.register
def _(domain: Genome) -> int | float:
    """Sum over depths N of C(N-2, reductions) * (filters * kernels * activations)^(N-1) * activations."""
    a_layer = (domain.filters[1] - domain.filters[0] + 1) * len(domain.kernels) * len(domain.activations)
    count = sum(math.comb(depth - 2, domain.reductions) * a_layer ** (depth - 1) for depth in domain.depths)
    return count * len(domain.activations)


@kinds.canonical.register
def _(domain: Genome, value: str) -> str:
    return show_layers(parse(value))


@kinds.show.register
def _(domain: Genome) -> dict[str, Any]:
    return {
        "genome": {
            "layers": list(domain.layers),
            "filters": list(domain.filters),
            "kernels": list(domain.kernels),
            "activations": list(domain.activations),
            "reductions": domain.reductions,
            "depth_mutation": domain.depth_mutation,
        }
    }
