"""Dense cells: the grammar, the verbs, which cells are the same, and their networks against NAS-Bench-201's table."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raynas.models import build, parameters
from raynas.models.nas_bench_201 import OPERATIONS as BUILT
from raynas.models.nas_bench_201 import CellModule
from raynas.rng import stream
from raynas.space import Cell, kinds, read
from raynas.space.cell import OPERATIONS, parse, show_cell, unique
from raynas.tables import InputError

DENSE = Cell(nodes=4)
BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
SIZES = settings(max_examples=40, deadline=None, derandomize=True, database=None)
TABLE = Path(os.environ.get("RAYNAS_DATA", Path(__file__).parents[2] / "shared" / "data")) / "nasbench201.npz"


def cells():
    return st.integers(0, 10**6).map(lambda number: kinds.draw(DENSE, stream(number)))


def differing(one, other):
    pairs = zip(sum(parse(one), ()), sum(parse(other), ()), strict=True)
    return sum(mine != theirs for mine, theirs in pairs)


# -- grammar -------------------------------------------------------------------------------------------------------


@SIZES
@given(cells())
def test_the_string_comes_back(cell):
    assert show_cell(parse(cell)) == cell
    assert kinds.contains(DENSE, cell)
    assert kinds.from_genes(DENSE, kinds.to_genes(DENSE, cell)) == cell


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("|a~0|+|b~1|c~0|", "node 2 of '|a~0|+|b~1|c~0|' must read nodes 0..1 in order, got '|b~1|c~0|'"),
        ("|a~0|+|b~0|", "node 2 of '|a~0|+|b~0|' must read nodes 0..1 in order, got '|b~0|'"),
        ("|a~1|", "node 1 of '|a~1|' must read node 0, got '|a~1|'"),
        ("a~0", "must read node 0"),
        ("|a|", "must read node 0"),
        ("", "a cell is a string like"),
        (7, "a cell is a string like"),
    ],
)
def test_the_parser_says_what_is_wrong(text, said):
    with pytest.raises(InputError) as caught:
        parse(text)
    assert said in str(caught.value)
    assert not kinds.contains(DENSE, text)


@pytest.mark.parametrize(
    "cell", ["|none~0|", BEST.replace("skip_connect", "sep_conv"), BEST + "+|none~0|none~1|none~2|none~3|"]
)
def test_other_cells_are_not_of_the_space(cell):
    assert not kinds.contains(DENSE, cell)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"nodes": 1}, "nodes is from 2 to 12, got 1"),
        ({"operations": []}, "different names"),
        ({"operations": ["none", "none"]}, "different names"),
        ({"operations": ["a|b"]}, "letters, digits"),
        ({"noddes": 4}, "Did you mean 'nodes'"),
    ],
)
def test_bad_cells_spaces_are_refused(options, said):
    with pytest.raises(InputError) as caught:
        read({"architecture": {"cell": options}})
    assert said in str(caught.value)


# -- verbs ---------------------------------------------------------------------------------------------------------


@SIZES
@given(cells(), cells(), st.integers(0, 10**6))
def test_mutants_differ_by_one_edge_and_children_are_of_their_parents(one, other, seed):
    mutant = kinds.mutate(DENSE, one, stream(seed))
    assert kinds.contains(DENSE, mutant)
    assert differing(one, mutant) == 1
    child = kinds.cross(DENSE, one, other, stream(seed))
    for mine, theirs, got in zip(*(sum(parse(cell), ()) for cell in (one, other, child)), strict=True):
        assert got in (mine, theirs)
    assert kinds.cross(DENSE, one, one, stream(seed)) == one


def test_every_edge_and_operation_is_drawn_and_mutated_evenly():
    drawn = [sum(parse(kinds.draw(DENSE, stream(seed))), ()) for seed in range(2000)]
    for edge in range(6):
        shares = [sum(cell[edge] == name for cell in drawn) / 2000 for name in OPERATIONS]
        assert shares == pytest.approx([0.2] * 5, abs=0.04)
    moved = np.zeros(6)
    for seed in range(2000):
        pairs = zip(sum(parse(BEST), ()), sum(parse(kinds.mutate(DENSE, BEST, stream(seed))), ()), strict=True)
        moved += [mine != theirs for mine, theirs in pairs]
    assert moved / 2000 == pytest.approx([1 / 6] * 6, abs=0.04)


def test_a_space_of_one_cell_has_no_mutant():
    single = Cell(nodes=3, operations=["skip_connect"])
    assert kinds.mutate(single, "|skip_connect~0|+|skip_connect~0|skip_connect~1|", stream(0)).startswith("|skip")
    assert kinds.size(single) == 1


def test_the_space_is_written_down_and_read_again():
    space = read("nas_bench_201")
    assert read(space.spec()).spec() == space.spec()
    assert space.size(["architecture"]) == 15625
    assert len(space.flat()) == 6


def test_features_are_the_paths_from_input_to_output():
    cell = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
    found = kinds.features(DENSE, cell)
    assert found.shape == (4 + 16 + 64,)
    names = OPERATIONS[1:]
    one = names.index("avg_pool_3x3")
    three = 4 + 16 + 16 * names.index("nor_conv_3x3") + 4 * names.index("skip_connect") + names.index("nor_conv_1x1")
    assert sorted(np.flatnonzero(found)) == sorted([one, three])
    assert not kinds.features(DENSE, "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|").any()


# -- which cells are the same --------------------------------------------------------------------------------------


def test_the_dense_space_has_6466_different_networks():
    assert read("nas_bench_201").networks(["architecture"]) == 6466
    assert len({unique(cell) for cell in kinds.levels(DENSE)}) == 6466


def test_isomorphic_cells_are_one_network():
    space = read("nas_bench_201")

    def identity(cell):
        return space.identity({**space.constants, "architecture": cell})

    direct = "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"
    through = "|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|"
    later = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|"
    other = "|none~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|"
    assert identity(direct) == identity(through) == identity(later) != identity(other)


# -- the network ---------------------------------------------------------------------------------------------------


def test_a_cell_computes_the_sums_of_its_edges():
    torch.manual_seed(0)
    cell = "|nor_conv_3x3~0|+|avg_pool_3x3~0|skip_connect~1|+|nor_conv_1x1~0|none~1|nor_conv_3x3~2|"
    module = CellModule(parse(cell), 4).eval()
    images = torch.randn(2, 4, 8, 8)
    edges = {(node + 1, int(source)): edge for node, part in enumerate(module.nodes) for source, edge in part.items()}
    assert set(edges) == {(1, 0), (2, 0), (2, 1), (3, 0), (3, 2)}
    one = edges[1, 0](images)
    two = edges[2, 0](images) + one
    assert torch.allclose(module(images), edges[3, 0](images) + edges[3, 2](two), atol=1e-6)
    pooled = torch.nn.functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    assert torch.equal(edges[2, 0](images), pooled)


def test_a_cell_that_nothing_reaches_is_zero():
    module = CellModule(parse("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"), 4)
    images = torch.randn(2, 4, 8, 8)
    assert torch.equal(module(images), torch.zeros_like(images))


@pytest.fixture
def no_random_weights(monkeypatch):
    """What the weights start from does not change how many there are, and takes most of a build on the meta device."""
    for kind in (torch.nn.Conv2d, torch.nn.Linear):
        monkeypatch.setattr(kind, "reset_parameters", lambda layer: None)


def on_meta(cell, shape, classes, **more):
    with torch.device("meta"):
        return parameters(build({"model": "nas_bench_201", "architecture": cell, **more}, shape, classes))


@pytest.mark.usefixtures("no_random_weights")
def test_parameters_are_the_closed_form():
    for seed in range(12):
        cell = kinds.draw(DENSE, stream(seed))
        ones, threes = cell.count("nor_conv_1x1"), cell.count("nor_conv_3x3")
        expected = 73_306 + 28_000 * ones + 243_040 * threes
        assert on_meta(cell, (3, 32, 32), 10) == expected
        assert on_meta(cell, (3, 32, 32), 100) == expected + 5_850
        assert on_meta(cell, (3, 16, 16), 120) == expected + 7_150


def test_wrong_networks_of_cells_are_refused():
    assert set(BUILT) | {"none"} == set(OPERATIONS)
    for more, said in (({"channels": 0}, "channels is a whole number"), ({"cells": 1.5}, "cells is a whole number")):
        with pytest.raises(InputError, match=said):
            on_meta(BEST, (3, 32, 32), 10, **more)
    with pytest.raises(InputError, match="unknown operation 'nor_conv_5x5'. Did you mean 'nor_conv_"):
        on_meta(BEST.replace("nor_conv_1x1", "nor_conv_5x5"), (3, 32, 32), 10)


@pytest.fixture(scope="module")
def table():
    if not TABLE.is_file():
        pytest.skip(f"no table at '{TABLE}': set RAYNAS_DATA")
    return np.load(TABLE)


def test_the_same_cells_are_merged_as_in_the_table(table):
    groups = {}
    for cell, group in zip(table["arch_str"], table["iso_class"], strict=True):
        assert groups.setdefault(unique(cell.decode()), group) == group
    assert len(groups) == len(set(table["iso_class"].tolist())) == 6466


@pytest.mark.usefixtures("no_random_weights")
def test_parameters_are_the_tables(table):
    rows, archs = np.random.default_rng(0).choice(15625, 70, replace=False), table["arch_str"]
    for name, shape, classes in (("cifar10", (3, 32, 32), 10), ("cifar100", (3, 32, 32), 100), ("imagenet16_120", (3, 16, 16), 120)):  # fmt: skip
        params = table[f"{name}_params"]  # an archive reads a column anew each time
        for row in rows:
            assert on_meta(archs[row].decode(), shape, classes) == params[row]
