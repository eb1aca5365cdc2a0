"""Two-input cells and macro networks: the grammars, the papers' integers, which cells are the same, published sizes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raynas.models import build, parameters
from raynas.models.macro import places_of
from raynas.models.micro import FactorizedReduction, drop_path
from raynas.rng import stream
from raynas.space import kinds, read
from raynas.space.macro import Macro, integers_of_layers, layers_of, parse_layers, show_layers
from raynas.space.micro_cell import (
    LAYOUTS,
    MicroCell,
    canonical_pairs,
    integers_of,
    loose_ends,
    pairs_of,
    parse_pairs,
    show_pairs,
)
from raynas.tables import InputError

MICRO, MACRO = MicroCell(), Macro()
SIZES = settings(max_examples=40, deadline=None, derandomize=True, database=None)
# the arcs of the authors' final scripts on CIFAR-10, and of the MNIST log of a fork (normal cell, reduction cell)
CIFAR = ("0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1", "1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1")
MNIST = ("1 2 1 3 0 1 0 4 1 1 1 1 0 1 0 1 1 0 0 1", "0 1 0 4 1 0 2 0 0 3 1 1 0 0 0 0 4 1 1 0")


def cells(domain=MICRO):
    return st.integers(0, 10**6).map(lambda number: kinds.draw(domain, stream(number)))


def numbers(text):
    return [int(number) for number in text.split()]


# -- grammars and integers -------------------------------------------------------------------------------------------


@SIZES
@given(cells(), st.sampled_from(sorted(LAYOUTS)))
def test_strings_and_integers_come_back(cell, layout):
    pairs = parse_pairs(cell)
    assert show_pairs(pairs) == cell
    assert pairs_of(integers_of(pairs, layout), layout) == pairs
    assert len(integers_of(pairs, layout)) == 20


@SIZES
@given(cells(MACRO))
def test_macro_strings_and_integers_come_back(network):
    layers = parse_layers(network)
    assert show_layers(layers) == network
    assert layers_of(integers_of_layers(layers)) == layers
    assert len(integers_of_layers(layers)) == 78


@pytest.mark.parametrize("arc", [*CIFAR, *MNIST])
def test_published_arcs_are_read_and_written(arc):
    assert integers_of(parse_pairs(arc)) == numbers(arc)
    assert kinds.contains(MICRO, show_pairs(parse_pairs(arc)))


def test_what_the_integers_mean():
    assert show_pairs(parse_pairs(CIFAR[0])).startswith(
        "|avg_pool_3x3~0|sep_conv_3x3~0|+|skip_connect~0|sep_conv_5x5~0|+"
    )
    # GeneticNAS: inputs A and B, then their operations; its input 0 is the last cell's, our 1
    assert pairs_of([0, 1, 0, 1], "genetic-nas") == ((("sep_conv_3x3", 1), ("skip_connect", 0)),)
    assert pairs_of([0, 1, 0, 1, 2, 0, 4, 3], "genetic-nas")[1] == (("max_pool_3x3", 2), ("avg_pool_3x3", 1))
    assert show_layers(layers_of([1, 0, 1, 5, 0, 1])) == "sep_conv_3x3+conv_3x3~1+max_pool_3x3~2"


WRONG = [
    (parse_pairs, 7, "a cell is a string like"),
    (parse_pairs, "", "a cell is a string like"),
    (parse_pairs, "0 1 0 1 0", "a cell has four integers a node (20 for 5 nodes), got 5"),
    (parse_pairs, "0 1 2 1", "node 2 takes its inputs from nodes 0 to 1, got 2"),
    (parse_pairs, "0 1 1 5", "unknown operation 5 of node 2. Known: 0 sep_conv_3x3, 1 sep_conv_5x5"),
    (parse_pairs, "|a~0|b~2|", "node 2 of '|a~0|b~2|' must read |operation~source|operation~source|, sources 0 to 1"),
    (parse_pairs, "|a~0|b~1|c~0|", "must read |operation~source|"),
    (parse_pairs, "|a~0|b~1|+|a~0|", "node 3 of"),
    (parse_pairs, "a~0|b~1", "must read |operation~source|"),
    (lambda value: pairs_of([0, 0, 0, 0], value), "enass", "unknown layout 'enass'. Did you mean 'enas'?"),
    (lambda value: integers_of(parse_pairs(value)), "|conv~0|skip_connect~0|", "operation of enas's integers 'conv'"),
    (parse_layers, None, "a macro network is a string like"),
    (parse_layers, "a+b~2", "layer 2 of 'a+b~2' must read operation~skip~skip, skips in order from 1 to 1, got 'b~2'"),
    (parse_layers, "a~1+b", "layer 1 of 'a~1+b' must read operation, got 'a~1'"),
    (parse_layers, "a+b+c~2~1", "layer 3"),
    (parse_layers, "0 1 1 2", "layer i takes i integers: 3 or 6 in all, got 4"),
    (parse_layers, "6", "unknown operation 6 of layer 1"),
    (parse_layers, "0 0 2", "layer 2: a skip is 0 or 1, got [2]"),
    (lambda value: layers_of(value), [], "a layer at least"),
    (lambda value: MicroCell(nodes=value), 13, "micro_cell: nodes is from 1 to 12, got 13"),
    (lambda value: MicroCell(operations=value), ["a", "a"], "different names"),
    (lambda value: MicroCell(operations=value), ["a|b"], "letters, digits"),
    (lambda value: Macro(layers=value), 0, "macro: layers is from 1 to 64, got 0"),
    (lambda value: Macro(operations=value), ["1"], "letters, digits"),
    (lambda value: read({"x": {"micro_cell": value}}), {"node": 5}, "Did you mean 'nodes'?"),
]


@pytest.mark.parametrize(("function", "value", "said"), WRONG, ids=lambda value: str(value)[:40])
def test_what_is_wrong_is_said(function, value, said):
    with pytest.raises(InputError) as caught:
        function(value)
    assert said in str(caught.value)


# -- which cells are the same -----------------------------------------------------------------------------------------


def renumbered(pairs, rng):
    """An isomorphic cell: nodes in another order that their inputs allow, the two inputs of some swapped."""
    place, left, made = {0: 0, 1: 1}, list(range(2, 2 + len(pairs))), []
    while left:
        ready = [node for node in left if all(source in place for _, source in pairs[node - 2])]
        node = ready[rng.integers(len(ready))]
        left.remove(node)
        pair = [(name, place[source]) for name, source in pairs[node - 2]]
        place[node] = 2 + len(made)
        made.append(tuple(pair if rng.random() < 0.5 else pair[::-1]))
    return tuple(made)


def function_of(pairs):
    """What tells cells apart: how often each loose end computes what, and which nodes are used where. Brute force over
    all numberings."""
    from itertools import permutations

    found = []
    for order in permutations(range(2, 2 + len(pairs))):
        place = {0: 0, 1: 1, **{node: 2 + number for number, node in enumerate(order)}}
        found.append(tuple(tuple(sorted((name, place[source]) for name, source in pairs[node - 2])) for node in order))
    return min(found)


@SIZES
@given(cells(), st.integers(0, 100))
def test_isomorphic_cells_are_one(cell, seed):
    pairs = parse_pairs(cell)
    other = renumbered(pairs, stream(seed))
    assert kinds.canonical(MICRO, show_pairs(other)) == kinds.canonical(MICRO, cell)
    assert kinds.canonical(MICRO, kinds.canonical(MICRO, cell)) == kinds.canonical(MICRO, cell)


def test_all_small_cells_fall_into_the_right_classes():
    small = MicroCell(nodes=3, operations=["a", "b"])
    drawn = [kinds.draw(small, stream(number)) for number in range(3000)]
    ours = {}
    for cell in drawn:
        ours.setdefault(kinds.canonical(small, cell), set()).add(function_of(parse_pairs(cell)))
    assert all(len(group) == 1 for group in ours.values())
    assert len(ours) == len({function_of(parse_pairs(cell)) for cell in drawn}) > 500


def test_a_node_used_twice_is_not_two_equal_nodes():
    twice = parse_pairs("|a~0|a~1|+|a~0|a~1|+|b~2|b~2|")
    each = parse_pairs("|a~0|a~1|+|a~0|a~1|+|b~2|b~3|")
    assert canonical_pairs(twice) != canonical_pairs(each)
    assert loose_ends(twice) == [3, 4]
    assert loose_ends(each) == [4]


# -- networks ---------------------------------------------------------------------------------------------------------


def network(arc, shape, **more):
    config = {"model": "enas_micro", "normal": arc[0], "reduction": arc[1], "auxiliary": 0.4, **more}
    with torch.device("meta"):
        return build(config, shape, 10)


SIZES_PUBLISHED = [
    # printed by TensorFlow in the MNIST log
    (network(MNIST, (1, 32, 32), layers=15, channels=16, reductions=3), 1_931_536, 443_648),
    # the authors' final network on CIFAR-10 (layers 15, channels 36)
    (network(CIFAR, (3, 32, 32)), 3_894_372, 494_848),
    (network(MNIST, (1, 32, 32)), 4_334_292, 494_848),
]


@pytest.mark.parametrize(("made", "params", "auxiliary"), SIZES_PUBLISHED, ids=["mnist", "cifar10", "mnist, official"])
def test_networks_have_the_published_number_of_parameters(made, params, auxiliary):
    assert parameters(made.second_head) == auxiliary
    assert parameters(made) - auxiliary == params


def test_cells_of_the_mnist_network_are_as_wide_as_was_printed():
    made = SIZES_PUBLISHED[0][0]
    assert [cell.leaving.channels for cell in made.cells] == [80, 80, 80, 96, *[160] * 3, 192, *[320] * 7, 384, 640]


def test_the_auxiliary_head_is_for_training_alone():
    made = build({"model": "enas_micro", "normal": "0 0 1 4", "reduction": "0 0 1 4", "layers": 3, "channels": 4,
                  "auxiliary": 0.4}, (1, 28, 28), 10)  # fmt: skip
    images = torch.rand(4, 1, 28, 28)
    assert [part.shape for part in made(images)] == [(4, 10), (4, 10)]
    assert made.eval()(images).shape == (4, 10)


def test_drop_path_drops_branches_of_images_and_keeps_the_mean():
    torch.manual_seed(0)
    made = drop_path(torch.ones(20_000, 2, 1, 1), 0.3)
    assert made.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert torch.equal(made[:, 0], made[:, 1])
    assert made.mean() == pytest.approx(1.0, abs=0.02)


def test_drop_path_grows_with_the_training_and_the_layer():
    made = build({"model": "enas_micro", "normal": "0 0 1 4", "reduction": "0 0 1 4", "layers": 2, "channels": 4,
                  "drop_path": 0.4}, (1, 8, 8), 10)  # fmt: skip
    made.at(0.5)
    assert [cell.drop for cell in made.cells] == pytest.approx([0.05, 0.1, 0.15, 0.2])
    made.at(0.0)
    assert {cell.drop for cell in made.cells} == {0.0}
    images = torch.rand(8, 1, 8, 8)
    made.train()
    torch.manual_seed(0)
    plain = made(images)
    made.at(1.0)
    assert not torch.allclose(made(images), plain)
    made.eval()
    assert torch.equal(made(images), made(images))


def test_a_factorized_reduction_sees_every_other_pixel_and_those_between():
    made = FactorizedReduction(1, 2).eval()
    with torch.no_grad():
        made.even.weight.fill_(1.0)
        made.odd.weight.fill_(1.0)
    images = torch.arange(25.0).view(1, 1, 5, 5)
    out = made(images) * math.sqrt(1 + 1e-5)
    assert torch.allclose(out[0, 0], images[0, 0, ::2, ::2], atol=1e-4)
    assert torch.allclose(out[0, 1, :2, :2], images[0, 0, 1::2, 1::2], atol=1e-4)


@pytest.mark.parametrize(("layers", "places"), [(12, (4, 8)), (24, (8, 16)), (3, (1, 2)), (2, ())])
def test_macro_networks_halve_after_thirds(layers, places):
    assert places_of(layers) == places


MISUSES = [
    ({"layers": 0}, "layers is a whole number of at least 1, got 0"),
    ({"channels": True}, "channels is a whole number of at least 1, got True"),
    ({"reductions": 4}, "reductions is 2 or 3, got 4"),
    ({"stem_stride": 3}, "stem_stride is 1 or 2, got 3"),
    ({"drop_path": 1.0}, "drop_path is a number from 0 to below 1, got 1.0"),
    ({"form": "finale"}, "Did you mean 'final'?"),
    ({"normal": "|sep_conv~0|skip_connect~1|"}, "unknown operation 'sep_conv'. Did you mean 'sep_conv_"),
    ({"normal": "0 1 1"}, "four integers a node"),
    ({"layers": 6, "auxiliary": 0.4}, "an auxiliary head needs 5 px or more where it stands, got 2x2"),
]


@pytest.mark.parametrize(("change", "said"), MISUSES, ids=[next(iter(change)) for change, _ in MISUSES])
def test_what_cannot_be_built_is_said(change, said):
    with pytest.raises(InputError) as caught:
        build(
            {"model": "enas_micro", "normal": "0 0 1 4", "reduction": "0 0 1 4", "channels": 4, **change}, (1, 8, 8), 10
        )
    assert said in str(caught.value)
