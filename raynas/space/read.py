"""Spaces from YAML, from dicts of Ray Tune domains, and by name."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search.sample import Categorical, Domain, Float, Integer

from raynas.settings import construct, read_yaml
from raynas.space import kinds
from raynas.space.cell import Cell
from raynas.space.genome import Genome
from raynas.space.macro import Macro
from raynas.space.micro_cell import MicroCell
from raynas.space.space import Space
from raynas.tables import InputError, import_named, is_import_name, look_up, nearest, unknown

PLAIN: dict[str, Callable[..., Domain]] = {
    "uniform": tune.uniform,
    "quniform": tune.quniform,
    "loguniform": tune.loguniform,
    "qloguniform": tune.qloguniform,
    "randint": tune.randint,
    "qrandint": tune.qrandint,
    "lograndint": tune.lograndint,
    "qlograndint": tune.qlograndint,
}
STRUCTURED: dict[str, Callable[..., Domain]] = {
    "genome": Genome,
    "cell": Cell,
    "micro_cell": MicroCell,
    "macro": Macro,
}
VERBS = (*PLAIN, *STRUCTURED, "choice", "grid_search")


def library() -> Path:
    """The folder of the spaces that come with raynas: inside the wheel, or at the top of a checkout."""
    inside = Path(__file__).parents[1] / "search_spaces"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "search_spaces"


def names() -> list[str]:
    """The spaces that come with raynas."""
    return sorted(path.stem for path in library().glob("*.yaml"))


def _choice(values: Any, where: str) -> Categorical:
    if not isinstance(values, list) or not values:
        raise InputError(f"{where}: choice takes a list of values, got {values!r}")
    for value in values:
        if not (value is None or isinstance(value, str | int | float | bool)):
            raise InputError(f"{where}: a choice is a number, a string, true, false or null, got {value!r}")
    if len({(type(value), value) for value in values}) < len(values):
        raise InputError(f"{where}: choice {values} holds a value twice")
    return tune.choice(values)


def _plain(verb: str, arguments: Any, where: str) -> Domain:
    numbers = list(arguments.values()) if isinstance(arguments, Mapping) else arguments
    if not isinstance(numbers, list) or not all(
        isinstance(n, int | float) and not isinstance(n, bool) for n in numbers
    ):
        raise InputError(f"{where}: {verb} takes numbers like [low, high], got {arguments!r}")
    wanted = ("lower", "upper", "q") if verb.startswith("q") else ("lower", "upper")
    if len(numbers) > len(wanted) or (isinstance(arguments, Mapping) and not set(arguments) <= set(wanted)):
        raise InputError(f"{where}: {verb} takes {', '.join(wanted)}, got {arguments!r}")
    try:
        domain = PLAIN[verb](**arguments) if isinstance(arguments, Mapping) else PLAIN[verb](*arguments)
    except (TypeError, ValueError, ArithmeticError, AssertionError) as error:
        raise InputError(f"{where}: {verb} {arguments}: {error}") from error
    assert isinstance(domain, Float | Integer)
    if isinstance(domain, Integer) and not all(isinstance(n, int) for n in numbers):
        raise InputError(f"{where}: {verb} takes whole numbers, got {arguments!r}")
    _check_domain(domain, where)
    return domain


def _domain(name: str, value: Any) -> Any:
    """The domain or constant that a parameter's YAML value stands for."""
    where = f"parameter '{name}'"
    if isinstance(value, Domain):
        _check_domain(value, where)
        return value
    if not isinstance(value, Mapping):
        if value is None or isinstance(value, str | int | float | bool):
            return value
        raise InputError(f"{where} must be a constant or one of {{verb: arguments}}, got {value!r}")
    if len(value) != 1 or (verb := next(iter(value))) not in VERBS:
        hint = nearest(str(next(iter(value), "")), VERBS)
        raise InputError(f"{where} must be {{verb: arguments}}, got {dict(value)!r}.{hint} Known: {', '.join(VERBS)}")
    if verb in ("choice", "grid_search"):
        return _choice(value[verb], where)
    if verb in STRUCTURED:
        if not isinstance(value[verb], Mapping):
            raise InputError(f"{where}: {verb} takes named arguments, got {value[verb]!r}")
        return construct(STRUCTURED[verb], value[verb], where)
    return _plain(verb, value[verb], where)


def _check_domain(domain: Domain, where: str) -> None:
    """Refuse what cannot be searched: sample_from, randn, empty ranges, choices that are not plain values."""
    try:
        shown = kinds.show(domain)
        if isinstance(domain, Float | Integer):
            reach = kinds.scale(domain)
            if (
                reach.high < reach.low
                or (reach.high == reach.low and reach.step is None)
                or (reach.log and reach.low <= 0)
            ):
                raise InputError(f"{shown} holds no value; it must read [low, high] with low < high")
            if reach.whole and max(-reach.low, reach.high) >= 2**53:
                raise InputError(f"{shown}: whole numbers are exact up to 2**53")
    except (InputError, OverflowError) as error:
        raise InputError(f"{where}: {error}") from error
    if isinstance(domain, Categorical):
        _choice(shown["choice"], where)


def from_parameters(parameters: Mapping[str, Any], about: str = "") -> Space:
    """A space of named parameters, each a Ray domain, a `{verb: arguments}` mapping or a constant."""
    for name in parameters:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name)):
            raise InputError(f"a parameter's name is letters, digits and '_', got '{name}'")
    if not parameters:
        raise InputError("a space needs at least one parameter")
    return Space({name: _domain(name, value) for name, value in parameters.items()}, about)


def _from_file(path: Path) -> Space:
    content = read_yaml(path)
    for key in content:
        if key not in ("about", "parameters"):
            raise InputError(
                f"'{path}': unknown key '{key}'.{nearest(key, ('about', 'parameters'))} Known: about, parameters"
            )
    if not isinstance(content.get("parameters"), dict):
        raise InputError(f"'{path}' must have 'parameters', a mapping of names to domains")
    try:
        return from_parameters(content["parameters"], str(content.get("about", "")).strip())
    except InputError as error:
        raise InputError(f"'{path}': {error}") from error


def read(space: "str | Path | Mapping[str, Any] | Space") -> Space:
    """A space by name, by YAML path, by `package.module:name`, or from a dict of parameters."""
    if isinstance(space, Space):
        return from_parameters(space.parameters, space.about).merging(space.merge)
    if isinstance(space, Mapping):
        return from_parameters(space)
    text = os.fspath(space)
    if is_import_name(text):
        value = import_named("space", text)
        if not isinstance(value, Mapping | Space):
            raise InputError(f"'{text}' must be a Space or a dict of Ray Tune domains, got {type(value).__name__}")
        return read(value)
    path = Path(text)
    if path.suffix in (".yaml", ".yml"):
        return _from_file(path)
    if text not in names():
        error = unknown("space", text, names())
        raise InputError(f"{error}. A space of your own is a YAML path or package.module:name")
    return _from_file(look_up("space", text, {name: library() / f"{name}.yaml" for name in names()}))
