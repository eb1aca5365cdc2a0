"""Names and randomness: a wrong name gets the nearest right one; a stream is a function of its arguments."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raynas.rng import seed_at, stream
from raynas.tables import InputError, import_named, is_import_name, look_up, nearest, unknown

TABLE = {"random": 1, "regularized-evolution": 2, "grid": 3, "Optuna": 4}

NEAREST = [
    ("regularised-evolution", " Did you mean 'regularized-evolution'?"),
    ("RANDOM", " Did you mean 'random'?"),
    ("optuna", " Did you mean 'Optuna'?"),
    ("gird", " Did you mean 'grid'?"),
    ("bayesian", ""),
    ("", ""),
]


@pytest.mark.parametrize(("name", "hint"), NEAREST)
def test_nearest_name(name, hint):
    assert nearest(name, TABLE) == hint


def test_look_up_finds_what_is_there():
    assert [look_up("searcher", name, TABLE) for name in TABLE] == list(TABLE.values())


def test_look_up_names_what_was_given_the_nearest_and_all_that_is_known():
    with pytest.raises(InputError) as caught:
        look_up("searcher", "regularised-evolution", TABLE)
    assert str(caught.value) == (
        "unknown searcher 'regularised-evolution'. Did you mean 'regularized-evolution'?"
        " Known: Optuna, grid, random, regularized-evolution"
    )
    assert isinstance(caught.value, ValueError)


def test_unknown_is_an_error_to_raise_not_one_raised():
    assert str(unknown("dataset", "zzz", ["b", "a"])) == "unknown dataset 'zzz'. Known: a, b"


IMPORT_NAMES = {
    "package:name": True,
    "package.module:name": True,
    "_p.m1:_n": True,
    "package": False,
    "package.module": False,
    "package:": False,
    ":name": False,
    "a..b:c": False,
    "a:b:c": False,
    "a:b.c": False,
    "a b:c": False,
    "../a:b": False,
    "genome_cnn.yaml": False,
    "": False,
}


@pytest.mark.parametrize(("name", "is_one"), IMPORT_NAMES.items())
def test_import_names(name, is_one):
    assert is_import_name(name) is is_one


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module into the working directory; leaves the import path and table as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    yield write
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_import_named_looks_in_the_working_directory(module):
    module("raynas_test_ok", "answer = 42\n")
    assert import_named("space", "raynas_test_ok:answer") == 42


def test_import_named_reaches_installed_packages():
    assert import_named("function", "raynas.rng:stream") is stream


IMPORT_ERRORS = [
    ("raynas_test_absent:x", ["cannot import space 'raynas_test_absent:x'", "ModuleNotFoundError"]),
    ("raynas_test_broken:x", ["cannot import space 'raynas_test_broken:x'", "ZeroDivisionError: division by zero"]),
    ("raynas_test_syntax:x", ["cannot import space 'raynas_test_syntax:x'", "SyntaxError"]),
    ("raynas_test_other:my_spce", ["has no 'my_spce'. Did you mean 'my_space'?"]),
    ("raynas_test_other:zzzzzz", ["module 'raynas_test_other' has no 'zzzzzz'."]),
    ("not an import name", ["a space of your own is named 'package.module:name', got 'not an import name'"]),
]


@pytest.mark.parametrize(("name", "fragments"), IMPORT_ERRORS)
def test_import_errors_say_what_was_wrong(module, name, fragments):
    module("raynas_test_broken", "x = 1 / 0\n")
    module("raynas_test_syntax", "x = = 1\n")
    module("raynas_test_other", "my_space = {}\n_hidden = 1\n")
    with pytest.raises(InputError) as caught:
        import_named("space", name)
    for fragment in fragments:
        assert fragment in str(caught.value)


# -- randomness -------------------------------------------------------------------------------------------------

PATHS = st.lists(st.integers(0, 2**31), max_size=3).map(tuple)
SEEDS = st.integers(0, 2**63 - 1)


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(SEEDS, PATHS)
def test_equal_arguments_give_equal_streams_and_other_ones_others(seed, path):
    numbers = stream(seed, *path).random(4)
    assert np.array_equal(numbers, stream(seed, *path).random(4))
    for other in (stream(seed + 1, *path), stream(seed, *path, 0), stream(seed, *path, 1)):
        assert not np.array_equal(numbers, other.random(4))
    assert seed_at(seed, *path) == seed_at(seed, *path)
    assert 0 <= seed_at(seed, *path) < 2**63
    assert len({seed_at(seed, *path), seed_at(seed + 1, *path), seed_at(seed, *path, 0), seed_at(seed, *path, 1)}) == 4


def test_streams_side_by_side_are_independent():
    first, second = (np.array([stream(0, n).random() for n in range(start, start + 2000)]) for start in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.07  # 3 standard errors
    assert abs(first.mean() - 0.5) < 0.02


def test_streams_use_no_hidden_state_and_leave_none():
    np.random.seed(0)  # noqa: NPY002 -- to see that it makes no difference
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    one = stream(7, 3).random()
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    assert stream(7, 3).random() == one


GOLDEN_STREAMS = {
    (0,): 0.6369616873214543,
    (0, 0): 0.9429375528828794,
    (0, 17): 0.8077303428056658,
    (1, 17): 0.5106695753072035,
}


def test_golden_streams():
    """What is stored today must be replayed the same by later versions."""
    assert {path: float(stream(*path).random()) for path in GOLDEN_STREAMS} == GOLDEN_STREAMS
    assert stream(0).random() == np.random.default_rng(0).random()
    assert seed_at(0, 1, 5) == 3391654286919226872
