"""Strict reading: YAML, overrides, frozen settings, and options taken from a signature."""

from typing import Literal

import pytest
from pydantic import ValidationError, field_validator

from raynas.settings import Settings, check, construct, options, override, parse_yaml, read_yaml
from raynas.tables import InputError

# -- YAML -------------------------------------------------------------------------------------------------------

READ = {
    "1e-4": 1e-4,
    "1E4": 1e4,
    "-2e3": -2e3,
    "+1e+2": 100.0,
    "1.0e-4": 1e-4,
    "1.e3": 1e3,
    ".5e1": 5.0,
    "0.1": 0.1,
    "3": 3,
    "-3": -3,
    "1_000e-3": 1.0,
    ".inf": float("inf"),
    "true": True,
    "null": None,
    "": None,
    "relu": "relu",
    "1e": "1e",
    "e4": "e4",
    "1e-4x": "1e-4x",
    "'1e-4'": "1e-4",
    "[1e-4, 1e-1]": [1e-4, 1e-1],
    "{a: 1e3}": {"a": 1e3},
}


@pytest.mark.parametrize(("text", "value"), READ.items())
def test_yaml_values(text, value):
    found = parse_yaml(text, "here")
    assert found == value
    assert type(found) is type(value)


UNSAFE = [
    "!!python/object:os.system {}",
    "!!python/object/apply:os.getcwd []",
    "!!python/name:os.system",
    "!!python/tuple [1]",
]


@pytest.mark.parametrize("text", [*UNSAFE, "a: [1", "a: b: c", "\ta: 1", "a: *nowhere", "\x00"])
def test_what_is_not_plain_yaml_is_refused_and_runs_nothing(text):
    with pytest.raises(InputError, match=r"^'x\.yaml' is not YAML: "):
        parse_yaml(text, "'x.yaml'")


def test_read_yaml(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text("name: übung\nlr: 1e-4\n", encoding="utf-8")
    assert read_yaml(path) == {"name": "übung", "lr": 1e-4}


FILES = {
    "absent": (None, "cannot read"),
    "list": (b"[1, 2]", "must hold a mapping of names to values, got list"),
    "empty": (b"", "must hold a mapping of names to values, got NoneType"),
    "text": (b"hello", "must hold a mapping of names to values, got str"),
    "number_keys": (b"1: 2", "must hold a mapping of names to values"),
    "not_utf8": (b"a: \xff\xfe", "cannot read"),
    "broken": (b"a: [", "is not YAML"),
}


@pytest.mark.parametrize("name", FILES)
def test_unreadable_files_are_named(tmp_path, name):
    content, fragment = FILES[name]
    path = tmp_path / f"{name}.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert fragment in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_yaml(tmp_path)


# -- overrides --------------------------------------------------------------------------------------------------

START = {"space": "genome_cnn", "search": "random", "budget": {"trials": 10, "gpu_hours": 2}, "seed": 0}

OVERRIDES = [
    ([], START),
    (["seed=3"], {**START, "seed": 3}),
    (["seed=3", "seed=4"], {**START, "seed": 4}),
    (["budget.trials=40"], {**START, "budget": {"trials": 40, "gpu_hours": 2}}),
    (["training.lr=1e-4"], {**START, "training": {"lr": 1e-4}}),
    (["a.b.c=1", "a.b.d=2", "a.e=3"], {**START, "a": {"b": {"c": 1, "d": 2}, "e": 3}}),
    (["search.population=6"], {**START, "search": {"name": "random", "population": 6}}),
    (["search=grid", "search.x=1"], {**START, "search": {"name": "grid", "x": 1}}),
    (["budget={trials: 1}"], {**START, "budget": {"trials": 1}}),
    (["kernels=[1, 3]"], {**START, "kernels": [1, 3]}),
    (["name=a=b"], {**START, "name": "a=b"}),
    (["note="], {**START, "note": None}),
]


@pytest.mark.parametrize(("assignments", "expected"), OVERRIDES)
def test_override(assignments, expected):
    before = {**START, "budget": dict(START["budget"])}
    assert override(START, assignments) == expected
    assert before == START, "the settings that were given must stay as they are"


@pytest.mark.parametrize("bad", ["seed", "=3", "", ".a=1", "a.=1", "a..b=1"])
def test_overrides_that_are_no_assignment(bad):
    with pytest.raises(InputError, match=r"an override is written key=value, e.g. budget.trials=40, got"):
        override(START, [bad])


def test_an_override_whose_value_is_no_yaml_is_named():
    with pytest.raises(InputError, match=r"the value of 'a\.b' is not YAML"):
        override(START, ["a.b=[1"])


# -- settings ---------------------------------------------------------------------------------------------------


class Budget(Settings):
    trials: int
    hours: float | None = None


class Plan(Settings):
    name: str
    budget: Budget
    mode: Literal["max", "min"] = "max"
    rates: list[float] = [0.1]

    @field_validator("name")
    @classmethod
    def _short(cls, value):
        if len(value) > 5:
            raise ValueError("a name has at most 5 letters")
        return value


def problems(model, values):
    with pytest.raises(InputError) as caught:
        check(model, values, "plan.yaml")
    return str(caught.value).split("\n")


def test_settings_are_read_frozen_comparable_and_whole_numbers_do_for_floats():
    plan = check(Plan, {"name": "a", "budget": {"trials": 3, "hours": 2}, "rates": [1, 0.5]}, "plan.yaml")
    assert plan == check(Plan, plan.model_dump(), "again")
    assert plan.budget.hours == 2.0
    assert plan.mode == "max"
    with pytest.raises(ValidationError):
        plan.name = "b"


GOOD = {"name": "a", "budget": {"trials": 3}}
WRONG = [
    ({**GOOD, "nmae": 1}, ["unknown key 'nmae'. Did you mean 'name'? Known: name, budget, mode, rates"]),
    ({**GOOD, "zzzzz": 1}, ["unknown key 'zzzzz'. Known: name"]),
    ({"name": "a", "budget": {"trials": 3, "houres": 1}}, ["'budget.houres'. Did you mean 'hours'? Known: trials,"]),
    ({"name": "a"}, ["'budget' is missing"]),
    ({"name": "a", "budget": {}}, ["'budget.trials' is missing"]),
    ({**GOOD, "name": 3}, ["'name' must be right", "got 3"]),
    ({**GOOD, "name": "toolong"}, ["name: a name has at most 5 letters"]),
    ({"name": "a", "budget": {"trials": "3"}}, ["'budget.trials' must be right", "got '3'"]),
    ({"name": "a", "budget": {"trials": 3.0}}, ["'budget.trials' must be right", "got 3.0"]),
    ({"name": "a", "budget": {"trials": True}}, ["'budget.trials' must be right", "got True"]),
    ({"name": "a", "budget": 3}, ["'budget' must be right", "got 3"]),
    ({**GOOD, "mode": "maximum"}, ["'mode' must be right", "'max' or 'min'", "got 'maximum'"]),
    ({**GOOD, "rates": [0.1, "x"]}, ["'rates.1' must be right", "got 'x'"]),
]


@pytest.mark.parametrize(("values", "fragments"), WRONG)
def test_each_error_says_what_was_given_and_what_would_do(values, fragments):
    (line,) = problems(Plan, values)
    assert line.startswith("plan.yaml: ")
    for fragment in fragments:
        assert fragment in line


def test_all_errors_come_at_once():
    lines = problems(Plan, {"nmae": "a", "budget": {"trials": "3", "hurs": 1}, "mode": "x"})
    assert len(lines) == 5
    for line, fragment in zip(
        sorted(lines),
        ["'budget.trials' must be", "'mode' must be", "'name' is missing", "key 'budget.hurs'", "key 'nmae'"],
        strict=True,
    ):
        assert fragment in line


# -- options: a signature is the schema ---------------------------------------------------------------------------


class Searcher:
    def __init__(self, space, *, population: int, share: float = 0.5, kinds: list[str] | None = None):
        if population < 2:
            raise ValueError("a population has at least 2 members")
        if share > 1:
            raise InputError("share is at most 1")
        self.space, self.population, self.share, self.kinds = space, population, share, kinds


class Plain:
    pass


def test_options_are_the_keyword_only_parameters():
    model = options(Searcher)
    assert list(model.model_fields) == ["population", "share", "kinds"]
    assert model(population=3).model_dump() == {"population": 3, "share": 0.5, "kinds": None}
    assert not options(Plain).model_fields
    assert not options(lambda positional: positional).model_fields


def test_construct_passes_positional_and_checked_values():
    made = construct(Searcher, {"population": 4, "share": 1}, "search", "the space")
    assert (made.space, made.population, made.share, made.kinds) == ("the space", 4, 1.0, None)
    assert isinstance(construct(Plain, {}, "plain"), Plain)


CONSTRUCT_ERRORS = [
    ({"popluation": 4}, ["search: unknown key 'popluation'. Did you mean 'population'?", "'population' is missing"]),
    ({}, ["search: 'population' is missing"]),
    ({"population": "4"}, ["search: 'population' must be right", "got '4'"]),
    ({"population": 4, "share": "much"}, ["search: 'share' must be right"]),
    ({"population": 4, "kinds": "a"}, ["search: 'kinds' must be right"]),
    ({"population": 4, "space": "x"}, ["search: unknown key 'space'"]),
    ({"population": 1}, ["search: a population has at least 2 members"]),
    ({"population": 4, "share": 2}, ["share is at most 1"]),
]


@pytest.mark.parametrize(("given", "fragments"), CONSTRUCT_ERRORS)
def test_construct_is_strict(given, fragments):
    with pytest.raises(InputError) as caught:
        construct(Searcher, given, "search", None)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_construct_leaves_errors_that_are_no_input_error_alone():
    def broken(*, size: int):
        raise KeyError(size)

    with pytest.raises(KeyError):
        construct(broken, {"size": 1}, "here")
