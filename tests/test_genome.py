"""The layered genome: its grammar, its domain, and how it varies."""

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raynas.rng import stream
from raynas.space import Genome, Space, kinds, read
from raynas.space.genome import ACTIVATIONS, Layer, changes, parse, show_layers
from raynas.tables import InputError

PAPER = {"layers": [3, 10], "filters": [5, 64], "kernels": [1, 3, 5, 7]}
GOOD = "NC 48 5 swish;NC 5 5 gelu;RC 22 7 gelu;RC 39 3 tanh;FL swish"

# -- the grammar ----------------------------------------------------------------------------------------------------

CONVOLUTIONS = st.builds(
    Layer, st.sampled_from(["NC", "RC"]), st.integers(1, 10**4), st.integers(1, 99), st.sampled_from(ACTIVATIONS)
)
ENDS = st.builds(Layer, st.just("FL"), st.just(0), st.just(0), st.sampled_from(ACTIVATIONS))
GENOMES = st.builds(lambda body, end: (*body, end), st.lists(CONVOLUTIONS, min_size=1, max_size=12), ENDS)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(GENOMES, st.sampled_from(["", " ", "  ", "\n", "\t"]), st.booleans())
def test_parse_and_show_come_back_whatever_the_blanks(layers, blanks, final):
    text = show_layers(layers)
    assert parse(text) == layers
    assert show_layers(parse(text)) == text
    spaced = blanks + text.replace(";", f"{blanks};{blanks}").replace(" ", " " + blanks) + blanks + ";" * final + blanks
    assert parse(spaced) == layers


def test_layers_have_names():
    first, *_, end = parse(GOOD)
    assert first == Layer(kind="NC", filters=48, kernel=5, activation="swish")
    assert end == Layer("FL", 0, 0, "swish")
    assert show_layers((first, end)) == "NC 48 5 swish;FL swish"


BAD = [
    ("", "layer 1 of '' must read 'NC|RC filters kernel activation' or 'FL activation', got ''"),
    ("   ", "layer 1 of"),
    ("FL relu", "'FL relu' must have convolutions and end with its only FL layer"),
    ("NC 5 3 relu", "must have convolutions and end with its only FL layer"),
    ("NC 5 3 relu;FL relu;NC 5 3 relu", "end with its only FL layer"),
    ("NC 5 3 relu;FL relu;FL relu", "end with its only FL layer"),
    ("NC 5 3 relu;;FL relu", "layer 2 of 'NC 5 3 relu;;FL relu' must read"),
    ("NC 5 3 relu;FL relu;;", "layer 3 of"),
    (";NC 5 3 relu;FL relu", "layer 1 of"),
    ("NC 5 3 relu;XX 5 3 relu;FL relu", "got 'XX 5 3 relu'"),
    ("nc 5 3 relu;FL relu", "layer 1 of"),
    ("NC 5 3 relu;NC 5 relu;FL relu", "layer 2 of"),
    ("NC 5 3 3 relu;FL relu", "layer 1 of"),
    ("NC 5 3 relu;RC 5 3;FL relu", "got 'RC 5 3'"),
    ("NC 5 3 relu;FL", "layer 2 of 'NC 5 3 relu;FL' must read 'FL activation', got 'FL'"),
    ("NC 5 3 relu;FL 64 relu", "must read 'FL activation', got 'FL 64 relu'"),
    ("NC 5 3 rellu;FL relu", "layer 1 of 'NC 5 3 rellu;FL relu'"),
    ("NC 5 3 rellu;FL relu", "unknown activation. Did you mean 'relu'? Known: relu, sigmoid, tanh, swish, gelu"),
    ("NC 5 3 relu;FL Tanh", "Did you mean 'tanh'?"),
    ("NC 5 3 relu;FL softmax", "unknown activation. Known: relu"),
    ("NC five 3 relu;FL relu", "filters and kernel are whole numbers"),
    ("NC 5.0 3 relu;FL relu", "whole numbers"),
    ("NC -5 3 relu;FL relu", "whole numbers"),
    ("NC +5 3 relu;FL relu", "whole numbers"),
    ("NC 1_0 3 relu;FL relu", "whole numbers"),
    ("NC ٣ 3 relu;FL relu", "whole numbers"),
    ("NC 5 ² relu;FL relu", "whole numbers"),
    ("NC 0 3 relu;FL relu", "filters and kernel are at least 1"),
    ("NC 5 3 relu;NC 5 0 relu;FL relu", "layer 2 of"),
    ("NC 5 3 relu,FL relu", "layer 1 of"),
    ("__import__('os').getcwd()", "layer 1 of"),
    (None, "a genome is a string like 'NC 48 5 swish;RC 39 3 tanh;FL gelu', got None"),
    (["NC 5 3 relu", "FL relu"], "a genome is a string like"),
    (b"NC 5 3 relu;FL relu", "a genome is a string like"),
]


@pytest.mark.parametrize(("genome", "fragment"), BAD)
def test_the_parser_says_what_is_wrong(genome, fragment):
    with pytest.raises(InputError) as caught:
        parse(genome)
    assert fragment in str(caught.value)
    assert kinds.contains(Genome(**PAPER), genome) is False


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.text(alphabet="NRCFL 0123;relutahswig\n-.", max_size=40) | st.text(max_size=20))
def test_any_text_is_read_or_refused(text):
    try:
        layers = parse(text)
    except InputError:
        return
    assert parse(show_layers(layers)) == layers


# -- the domain -----------------------------------------------------------------------------------------------------

DOMAIN_ERRORS = [
    ({"layers": [3]}, "layers must be [fewest, most], got [3]"),
    ({"layers": [10, 3]}, "layers must be [fewest, most], got [10, 3]"),
    ({"layers": [0, 10]}, "layers must be [fewest, most]"),
    ({"filters": [64, 5]}, "filters must be [fewest, most]"),
    ({"filters": [0, 5]}, "filters must be [fewest, most]"),
    ({"filters": [5, 64, 1]}, "filters must be [fewest, most]"),
    ({"kernels": []}, "kernels must be different sizes of at least 1, got []"),
    ({"kernels": [0, 3]}, "kernels must be different sizes"),
    ({"kernels": [3, 3]}, "kernels must be different sizes"),
    ({"activations": []}, "activations must be different names"),
    ({"activations": ["relu", "relu"]}, "activations must be different names"),
    ({"activations": ["rellu"]}, "unknown activation 'rellu'. Did you mean 'relu'? Known:"),
    ({"layers": [3, 3]}, "2 reductions need at least 4 layers, got at most 3"),
    ({"reductions": 9}, "9 reductions need at least 11 layers, got at most 10"),
    ({"reductions": -1}, "-1 reductions"),
    ({"depth_mutation": 1.5}, "depth_mutation is a share in [0, 1], got 1.5"),
    ({"depth_mutation": -0.1}, "depth_mutation is a share in [0, 1]"),
]


@pytest.mark.parametrize(("change", "fragment"), DOMAIN_ERRORS)
def test_a_domain_without_genomes_is_refused(change, fragment):
    with pytest.raises(InputError) as caught:
        Genome(**(PAPER | change))
    assert fragment in str(caught.value)
    with pytest.raises(InputError) as caught:
        read({"architecture": {"genome": PAPER | change}})
    assert fragment in str(caught.value)


CONTAINED = {
    GOOD: True,
    "NC 5 1 relu;RC 64 7 tanh;RC 5 3 gelu;FL gelu": True,
    "NC 5 1 relu;RC 64 7 tanh;RC 5 3 gelu;FL gelu;": True,
    "RC 5 1 relu;NC 5 1 relu;RC 5 3 gelu;FL gelu": False,
    "NC 5 1 relu;NC 5 1 relu;RC 5 3 gelu;FL gelu": False,
    "NC 5 1 relu;RC 5 1 relu;RC 5 3 gelu;RC 5 3 gelu;FL gelu": False,
    "NC 5 1 relu;NC 5 1 relu;NC 5 3 gelu;FL gelu": False,
    "NC 5 1 relu;RC 5 1 relu;FL gelu": False,
    "NC 4 1 relu;RC 5 1 relu;RC 5 3 gelu;FL gelu": False,
    "NC 5 1 relu;RC 5 1 relu;RC 65 3 gelu;FL gelu": False,
    "NC 5 2 relu;RC 5 1 relu;RC 5 3 gelu;FL gelu": False,
    "NC 5 1 relu;RC 5 1 relu;RC 5 9 gelu;FL gelu": False,
    "NC 5 1 sigmoid;RC 5 1 relu;RC 5 3 gelu;FL gelu": False,
    "NC 5 1 relu;RC 5 1 relu;RC 5 3 gelu;FL sigmoid": False,
    "NC 5 1 relu;RC 5 1 relu;RC 5 3 gelu;" + "NC 5 1 relu;" * 6 + "FL gelu": True,
    "NC 5 1 relu;RC 5 1 relu;RC 5 3 gelu;" + "NC 5 1 relu;" * 7 + "FL gelu": False,
}


@pytest.mark.parametrize("genome", CONTAINED)
def test_contains(genome):
    domain = Genome(**PAPER, activations=["relu", "tanh", "swish", "gelu"])
    assert kinds.contains(domain, genome) is CONTAINED[genome]
    assert domain.is_valid(genome) is CONTAINED[genome]


TINY = [
    {"layers": [3, 4], "filters": [5, 6], "kernels": [1, 3], "activations": ["relu"], "reductions": 1},
    {"layers": [1, 5], "filters": [5, 5], "kernels": [3], "activations": ["relu", "tanh"], "reductions": 2},
    {"layers": [2, 4], "filters": [5, 6], "kernels": [1], "activations": ["relu", "tanh"], "reductions": 0},
    {"layers": [5, 5], "filters": [5, 6], "kernels": [1], "activations": ["relu"], "reductions": 1},
]


@pytest.mark.parametrize("tiny", TINY, ids=str)
def test_size_and_flat_span_exactly_what_is_contained(tiny):
    domain = Genome(**tiny)
    layers = [
        f"{kind} {filters} {kernel} {activation}"
        for kind, filters, kernel, activation in product(
            ("NC", "RC"), range(tiny["filters"][0], tiny["filters"][1] + 1), tiny["kernels"], tiny["activations"]
        )
    ]
    ends = [f"FL {activation}" for activation in tiny["activations"]]
    listed = {
        ";".join((*body, end)) for length in range(1, 6) for body in product(layers, repeat=length) for end in ends
        if sum(layer.startswith("RC") for layer in body) == tiny["reductions"]  # to list fewer
        and kinds.contains(domain, ";".join((*body, end)))
    }  # fmt: skip
    assert kinds.size(domain) == len(listed)

    space = Space({"x": domain})
    flat = space.flat()
    points = product(*(kinds.levels(gene) for gene in flat.values()))
    assert {space.unflat(dict(zip(flat, point, strict=True)))["x"] for point in points} == listed


def test_the_size_of_the_papers_space():
    domain = Genome(**PAPER)
    assert kinds.size(domain) == 722820998948733880712640000000
    assert kinds.size(domain) == sum(math.comb(n - 2, 2) * 1200 ** (n - 1) * 5 for n in range(4, 11))
    assert math.isclose(kinds.size(domain), 7.228e29, rel_tol=1e-4)
    assert kinds.size(Genome(**(PAPER | {"layers": [4, 4]}))) == 8_640_000_000
    assert math.isclose(kinds.size(Genome(**(PAPER | {"layers": [10, 10]}))), 7.224e29, rel_tol=1e-4)


def test_flat_has_one_finite_gene_a_decision():
    flat = Space({"a": Genome(**PAPER)}).flat()
    assert len(flat) == 2 + 3 * 9 + 1
    assert kinds.levels(flat["a.layers"]) == list(range(4, 11))
    assert kinds.size(flat["a.reductions"]) == math.comb(8, 2)
    assert kinds.levels(flat["a.1.filters"]) == list(range(5, 65))
    assert kinds.levels(flat["a.9.kernel"]) == [1, 3, 5, 7]
    assert kinds.levels(flat["a.end.activation"]) == list(ACTIVATIONS)


def test_genes_of_layers_that_are_not_there_do_not_matter():
    space = Space({"a": Genome(**PAPER)})
    values = space.flatten({"a": GOOD})
    assert values["a.layers"] == 5
    assert [values[f"a.{n}.filters"] for n in range(1, 10)] == [48, 5, 22, 39, 5, 5, 5, 5, 5]
    for n in range(5, 10):
        dead = {f"a.{n}.filters": 60, f"a.{n}.kernel": 7, f"a.{n}.activation": "gelu"}
        assert space.unflat(values | dead) == {"a": GOOD}


@pytest.mark.parametrize("form", [GOOD + ";", f"  {GOOD} ", GOOD.replace(";", " ; "), GOOD.replace(" 5 ", "  05 ")])
def test_spellings_have_one_canonical_form(form):
    assert kinds.canonical(Genome(**PAPER), form) == GOOD


def test_a_domain_says_what_it_is():
    assert Genome(**PAPER).domain_str == "genome of 4..10 layers"
    shown = kinds.show(Genome(**PAPER, depth_mutation=0.25))
    assert shown == {
        "genome": {**PAPER, "activations": list(ACTIVATIONS), "reductions": 2, "depth_mutation": 0.25},
    }


# -- drawing ------------------------------------------------------------------------------------------------------

# fmt: off
GOLDEN = [
    "NC 48 1 tanh;NC 43 1 gelu;RC 21 5 gelu;NC 10 7 gelu;RC 11 5 swish;NC 5 3 tanh;NC 17 5 tanh;NC 33 1 gelu;"
    "NC 50 3 swish;FL swish",
    "NC 41 3 gelu;RC 51 5 swish;NC 31 7 gelu;NC 42 1 swish;NC 8 1 relu;RC 48 3 tanh;NC 25 7 gelu;FL swish",
    "NC 42 5 sigmoid;RC 34 5 gelu;NC 25 3 relu;RC 26 7 gelu;NC 48 3 gelu;NC 22 7 relu;NC 28 1 swish;"
    "NC 59 7 swish;FL gelu",
    "NC 32 1 relu;NC 46 7 gelu;RC 7 5 swish;RC 51 1 sigmoid;NC 41 3 tanh;FL relu",
    "NC 14 5 relu;RC 31 5 sigmoid;NC 30 7 tanh;NC 56 7 sigmoid;NC 58 5 sigmoid;NC 28 3 swish;RC 63 5 swish;FL relu",
]
# fmt: on
GOLDEN_LR = [4.844652440403678e-3, 7.33385683136648e-4, 4.71379870725694e-4, 3.93051473690223e-4, 3.55132836595431e-4]


def test_golden_samples():
    """A search stored today must be replayed the same by later versions."""
    samples = [read("genome_cnn").sample(stream(0, n)) for n in range(5)]
    assert [sample["architecture"] for sample in samples] == GOLDEN
    assert np.allclose([sample["lr"] for sample in samples], GOLDEN_LR, rtol=1e-12, atol=0)
    assert all(sample["model"] == "genome" for sample in samples)


def test_draws_are_even_over_depths_places_and_genes():
    domain = Genome(**PAPER)
    genomes = [parse(kinds.draw(domain, stream(1, n))) for n in range(2100)]
    depths = Counter(len(layers) for layers in genomes)
    assert set(depths) == set(range(4, 11))
    assert all(220 < count < 380 for count in depths.values())  # 300 expected
    for depth in (4, 5, 6):
        places = {tuple(at for at, layer in enumerate(g) if layer.kind == "RC") for g in genomes if len(g) == depth}
        assert places == set(domain.places(depth))
    body = [layer for layers in genomes for layer in layers[:-1]]
    for genes, known in (
        ([layer.kernel for layer in body], PAPER["kernels"]),
        ([layer.activation for layer in body], ACTIVATIONS),
        ([layers[-1].activation for layers in genomes], ACTIVATIONS),
        ([layer.filters for layer in body], range(5, 65)),
    ):
        counts = Counter(genes)
        assert set(counts) == set(known)
        expected = len(genes) / len(known)
        assert all(abs(count - expected) < 5 * math.sqrt(expected) for count in counts.values())


# -- mutation -----------------------------------------------------------------------------------------------------


def difference(one, other):
    """(layer, gene) of the only difference between two genomes of one depth."""
    ones, others = parse(one), parse(other)
    assert len(ones) == len(others)
    ((at, gene),) = [
        (at, gene)
        for at, (mine, theirs) in enumerate(zip(ones, others, strict=True))
        for gene in Layer._fields
        if getattr(mine, gene) != getattr(theirs, gene)
    ]
    return at, gene


def mutants(domain, genome, count, seed=0):
    return [kinds.mutate(domain, genome, stream(seed, n)) for n in range(count)]


def test_mutation_follows_the_papers_table():
    found = [difference(GOOD, mutant) for mutant in mutants(Genome(**PAPER), GOOD, 4000)]
    shares = Counter(gene for _, gene in found)
    for gene, share in {"kernel": 0.13, "filters": 0.42, "activation": 0.45}.items():
        assert abs(shares[gene] / 4000 - share) < 4 * math.sqrt(share * (1 - share) / 4000)
    assert set(shares) == {"kernel", "filters", "activation"}
    for gene, layers in {"kernel": 4, "filters": 4, "activation": 5}.items():
        where = Counter(at for at, what in found if what == gene)
        assert set(where) == set(range(layers))
        expected = shares[gene] / layers
        assert all(abs(count - expected) < 4 * math.sqrt(expected) for count in where.values())


def test_a_mutated_gene_takes_any_other_value_evenly():
    activations = ["relu", "tanh", "gelu"]
    domain = Genome(layers=[3, 3], filters=[5, 9], kernels=[1, 3, 5], activations=activations, reductions=0)
    genome, values = "NC 7 3 tanh;NC 7 3 tanh;FL tanh", {}
    for mutant in mutants(domain, genome, 3000):
        at, gene = difference(genome, mutant)
        values.setdefault(gene, Counter())[getattr(parse(mutant)[at], gene)] += 1
    assert {gene: set(counts) for gene, counts in values.items()} == {
        "filters": {5, 6, 8, 9}, "kernel": {1, 5}, "activation": {"relu", "gelu"},
    }  # fmt: skip
    for counts in values.values():
        expected = sum(counts.values()) / len(counts)
        assert all(abs(count - expected) < 4 * math.sqrt(expected) for count in counts.values())


ONE = {"filters": [7, 7], "kernels": [3], "activations": ["tanh"], "reductions": 0}
FREE = {"filters": [5, 9], "kernels": [1, 3], "activations": ["relu", "tanh"], "reductions": 0}


@pytest.mark.parametrize(
    ("free", "shares"),
    [
        (["filters"], {"filters": 1}),
        (["kernels"], {"kernel": 1}),
        (["activations"], {"activation": 1}),
        (["filters", "activations"], {"filters": 0.42 / 0.87, "activation": 0.45 / 0.87}),
        (["filters", "kernels"], {"filters": 0.42 / 0.55, "kernel": 0.13 / 0.55}),
    ],
)
@pytest.mark.parametrize("depth_mutation", [0.0, 0.3, 1.0])
def test_only_what_can_change_is_changed_in_the_tables_proportions(free, shares, depth_mutation):
    domain = Genome(layers=[3, 3], depth_mutation=depth_mutation, **(ONE | {name: FREE[name] for name in free}))
    genome = "NC 7 3 tanh;NC 7 3 tanh;FL tanh"
    found = Counter(difference(genome, mutant)[1] for mutant in mutants(domain, genome, 1000))
    assert set(found) == set(shares)
    if depth_mutation < 1:
        assert all(abs(found[gene] / 1000 - share) < 0.065 for gene, share in shares.items())


def test_where_only_the_depth_can_change_it_does():
    domain = Genome(layers=[2, 4], **ONE)
    genome = "NC 7 3 tanh;NC 7 3 tanh;FL tanh"
    assert {len(parse(mutant)) for mutant in mutants(domain, genome, 50)} == {2, 4}


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_depth_mutations_insert_and_remove_a_plain_layer(share):
    domain = Genome(layers=[4, 6], filters=[5, 8], kernels=[1, 3], reductions=2, depth_mutation=share)
    starts = {
        4: "NC 5 1 relu;RC 6 1 relu;RC 7 1 relu;FL tanh",
        5: "NC 5 1 relu;RC 6 1 relu;NC 8 3 gelu;RC 7 1 relu;FL tanh",
        6: "NC 5 1 relu;RC 6 1 relu;NC 8 3 gelu;RC 7 1 relu;NC 6 3 swish;FL tanh",
    }
    for depth, genome in starts.items():
        layers, found = parse(genome), mutants(domain, genome, 600)
        assert all(kinds.contains(domain, mutant) and mutant != genome for mutant in found)
        moved = [mutated for mutated in map(parse, found) if len(mutated) != depth]
        assert abs(len(moved) / 600 - share) < 0.07
        assert {len(mutated) for mutated in moved} == {4: {5}, 5: {4, 6}, 6: {5}}[depth]
        for mutated in moved:
            longer, shorter = sorted((layers, mutated), key=len, reverse=True)
            gone = [at for at in range(len(longer)) if longer[:at] + longer[at + 1 :] == shorter]
            assert gone, "one layer came or went; the others stay"
            assert all(longer[at].kind == "NC" for at in gone)
            assert mutated[0] == layers[0]
            assert mutated[-1] == layers[-1]
        if depth == 5:
            grown = sum(len(mutated) > depth for mutated in moved)
            assert abs(grown / len(moved) - 0.5) < 0.18
        if depth == 6:
            assert len(set(moved)) == 2, "either of the two spare layers goes"


def test_inserted_layers_stand_anywhere_and_are_drawn_from_the_whole_domain():
    domain = Genome(layers=[4, 5], filters=[5, 8], kernels=[1, 3], activations=["relu", "gelu"], depth_mutation=1.0)
    genome = "NC 5 1 relu;RC 6 1 relu;RC 7 1 relu;FL relu"
    places, fresh = set(), set()
    for mutant in mutants(domain, genome, 400):
        layers = parse(mutant)
        (at,) = [at for at, layer in enumerate(layers) if at > 0 and layer.kind == "NC"]
        places.add(at)
        fresh.add(layers[at])
    assert places == {1, 2, 3}
    assert fresh == {Layer("NC", *genes) for genes in product((5, 6, 7, 8), (1, 3), ("relu", "gelu"))}


def test_the_fewest_layers_hold_where_plain_layers_are_left():
    domain = Genome(layers=[5, 6], filters=[5, 8], kernels=[1, 3], reductions=2, depth_mutation=1.0)
    shallow = "NC 5 1 relu;RC 6 1 relu;NC 8 3 gelu;RC 7 1 relu;FL tanh"
    assert {len(parse(mutant)) for mutant in mutants(domain, shallow, 50)} == {6}


def test_depth_stays_without_the_option_and_within_its_limits_with_it():
    still = Genome(**PAPER)
    moving = Genome(**PAPER, depth_mutation=0.5)
    genome, depths = GOOD, set()
    for n in range(400):
        assert len(parse(kinds.mutate(still, genome, stream(0, n)))) == len(parse(genome))
        genome = kinds.mutate(moving, genome, stream(1, n))
        assert kinds.contains(moving, genome)
        depths.add(len(parse(genome)))
    assert depths == set(range(4, 11))


def test_weights_of_changes_are_those_of_the_table():
    weights = [weight for weight, _ in changes(Genome(**PAPER, depth_mutation=0.2), parse(GOOD))]
    assert np.allclose(weights, [0.104, 0.336, 0.36, 0.2])


# -- crossing -----------------------------------------------------------------------------------------------------


def is_head_and_tail(child, one, other):
    cuts = ((head, len(child) - head) for head in range(1, len(child)))
    return any(child[:head] == one[:head] and child[head:] == other[-tail:] for head, tail in cuts if tail < len(other))


def is_plan_with_genes_of_both(child, one, other):
    """The kinds are those of `one`; each gene is from it or from the layer of the same kind and rank in `other`."""
    if [layer.kind for layer in child] != [layer.kind for layer in one]:
        return False
    for at, (layer, mine) in enumerate(zip(child, one, strict=True)):
        rank = sum(earlier.kind == layer.kind for earlier in one[:at])
        theirs = [donor for donor in other if donor.kind == layer.kind][rank : rank + 1] or [mine]
        if any(gene not in (my, their) for gene, my, their in zip(layer, mine, theirs[0], strict=True)):
            return False
    return True


def test_children_are_made_of_their_parents():
    domain = Genome(**PAPER)
    manners = Counter()
    for n in range(600):
        one, other = (kinds.draw(domain, stream(2, n, parent)) for parent in (0, 1))
        child = kinds.cross(domain, one, other, stream(3, n))
        assert kinds.contains(domain, child)
        one, other, child = parse(one), parse(other), parse(child)
        head_and_tail = is_head_and_tail(child, one, other)
        assert head_and_tail or is_plan_with_genes_of_both(child, one, other)
        manners[head_and_tail] += 1
        assert child[0].kind == "NC"
    assert abs(manners[True] / 600 - 0.5) < 0.1


def test_both_parents_give_and_every_cut_happens():
    domain = Genome(layers=[4, 7], filters=[5, 64], kernels=[1, 3], activations=["relu", "tanh"], reductions=1)
    one = "NC 5 1 relu;NC 6 1 relu;RC 7 1 relu;NC 8 1 relu;FL relu"
    other = "NC 50 3 tanh;RC 60 3 tanh;NC 61 3 tanh;NC 62 3 tanh;FL tanh"
    children = {kinds.cross(domain, one, other, stream(4, n)) for n in range(2000)}
    ones, others = parse(one), parse(other)
    possible = {
        show_layers(ones[:head] + others[tail:])
        for head in range(1, 5)
        for tail in range(1, 5)
        if kinds.contains(domain, show_layers(ones[:head] + others[tail:]))
    }
    assert possible <= children
    mixed = [parse(child) for child in children - possible]
    assert {layer.filters for layers in mixed for layer in layers[:-1]} == {5, 6, 7, 8, 50, 60, 61, 62}
    assert any(layers[2] == Layer("RC", 60, 1, "relu") for layers in mixed), "genes are taken on their own"


def test_parents_whose_reductions_lie_far_apart_have_valid_children():
    domain = Genome(layers=[5, 5], filters=[5, 9], kernels=[1], activations=["relu"], reductions=1)
    early = "NC 5 1 relu;RC 6 1 relu;NC 7 1 relu;NC 8 1 relu;FL relu"
    late = "NC 9 1 relu;NC 9 1 relu;NC 9 1 relu;RC 9 1 relu;FL relu"
    for n in range(200):
        assert kinds.contains(domain, kinds.cross(domain, early, late, stream(6, n)))
        assert kinds.contains(domain, kinds.cross(domain, late, early, stream(6, n)))


def test_a_genome_crossed_with_itself_at_one_depth_keeps_its_genes():
    domain = Genome(**(PAPER | {"layers": [5, 5]}))
    assert all(kinds.cross(domain, GOOD, GOOD, stream(7, n)) == GOOD for n in range(50))
