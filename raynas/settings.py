"""Strict reading: frozen settings, YAML, `key=value` overrides, and options taken from a signature."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from raynas.tables import InputError, nearest


class Settings(BaseModel):
    """Settings that cannot change, take no unknown key, and convert no types behind one's back."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")


class _Loader(yaml.SafeLoader):
    """SafeLoader that also reads `1e-4` as a number (YAML 1.1 wants `1.0e-4`)."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    """A mapping in which no key stands twice: the first would be lost."""
    loader.flatten_mapping(node)
    found: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | float | bool | None) or key in found:
            raise yaml.YAMLError(f"the key {key!r} stands twice or is no plain value,{key_node.start_mark}")
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d[\d_]*)([eE][-+]?\d+)$"),
    list("-+0123456789."),
)


def parse_yaml(text: str, where: str) -> Any:
    """The value written in `text`; `where` names it in errors."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 -- a SafeLoader
    except yaml.YAMLError as error:
        raise InputError(f"{where} is not YAML: {' '.join(str(error).split())}") from error


def show_yaml(value: Any) -> str:
    """Plain data as YAML, in its own order."""
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read '{path}': {error}") from error
    value = parse_yaml(text, f"'{path}'")
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InputError(f"'{path}' must hold a mapping of names to values, got {type(value).__name__}")
    return value


SHORT = ("search", "stop", "objective")


def override(settings: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """`settings` with each `a.b=value` put in (values are YAML)."""
    result = dict(settings)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key or not all(key.split(".")):
            raise InputError(f"an override is written key=value, e.g. budget.trials=40, got '{assignment}'")
        *parents, last = key.split(".")
        place = result
        for parent in parents:
            inner = place.get(parent)
            if isinstance(inner, str) and parent in SHORT:  # `search: random` is short for `search: {name: random}`
                inner = {"name": inner}
            place[parent] = dict(inner) if isinstance(inner, Mapping) else {}
            place = place[parent]
        place[last] = parse_yaml(text, f"the value of '{key}'")
    return result


def _field_names(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The fields allowed at a place inside a model, for the nearest-name hint."""
    current: Any = model
    for part in location:
        field = current.model_fields.get(part) if inspect.isclass(current) and issubclass(current, BaseModel) else None
        current = field.annotation if field else None
        if current is None:
            return []
    return list(current.model_fields) if inspect.isclass(current) and issubclass(current, BaseModel) else []


def _explain(error: ValidationError, model: type[BaseModel], where: str) -> InputError:
    lines = []
    for item in error.errors():
        location = tuple(part for part in item["loc"] if isinstance(part, str | int))
        key = ".".join(str(part) for part in location)
        if item["type"] == "extra_forbidden":
            known = _field_names(model, location[:-1])
            known_text = f" Known: {', '.join(known)}" if known else ""
            lines.append(f"{where}: unknown key '{key}'.{nearest(str(location[-1]), known)}{known_text}")
        elif item["type"] == "missing":
            lines.append(f"{where}: '{key}' is missing")
        elif item["type"] == "value_error":
            lines.append(f"{where}: {key + ': ' if key else ''}{item['ctx']['error']}")
        else:
            lines.append(f"{where}: '{key}' must be right: {item['msg'].lower()}, got {item['input']!r}")
    return InputError("\n".join(dict.fromkeys(lines)))


def check(model: type[S], values: Mapping[str, Any], where: str) -> S:
    """`values` as a `model`; raises one InputError that names everything that is wrong."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise _explain(error, model, where) from error


def options(function: Callable[..., Any]) -> type[Settings]:
    """The keyword-only parameters of `function` (or of a class) as a strict settings model."""
    target = function.__init__ if inspect.isclass(function) else function
    hints = get_type_hints(target, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(target).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[name] = (hints.get(name, Any), default)
    return create_model(f"{function.__name__}Options", __base__=Settings, **fields)


def construct(function: Callable[..., T], given: Mapping[str, Any], where: str, *positional: Any) -> T:
    """Call `function(*positional, **given)` after reading `given` strictly against its signature."""
    checked = check(options(function), given, where)
    try:
        return function(*positional, **{name: getattr(checked, name) for name in type(checked).model_fields})
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
