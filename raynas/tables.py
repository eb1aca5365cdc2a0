"""Names: a table is the list of what exists; a wrong name gets the nearest right one."""

import difflib
import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """What the user gave cannot be used; the message says what was given and what would do."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the known name that is closest to `name`, or nothing."""
    folded = {item.lower(): item for item in known}
    close = difflib.get_close_matches(str(name).lower(), list(folded), n=1, cutoff=0.6)
    return f" Did you mean '{folded[close[0]]}'?" if close else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is in no table."""
    names = sorted(known)
    return InputError(f"unknown {kind} '{name}'.{nearest(name, names)} Known: {', '.join(names)}")


def look_up(kind: str, name: str, table: Mapping[str, T]) -> T:
    """The entry called `name`; raises InputError with the nearest name otherwise."""
    if name not in table:
        raise unknown(kind, name, table)
    return table[name]


def is_import_name(name: str) -> bool:
    """True for `package.module:name`, the only form in which user code is ever imported."""
    module, _, attribute = name.partition(":")
    return bool(attribute) and all(part.isidentifier() for part in [*module.split("."), attribute])


def import_named(kind: str, name: str) -> Any:
    """Import `package.module:name`, looking in the working directory too."""
    if not is_import_name(name):
        raise InputError(f"a {kind} of your own is named 'package.module:name', got '{name}'")
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises while it is imported
        raise InputError(f"cannot import {kind} '{name}': {type(error).__name__}: {error}") from error
    if not hasattr(module, attribute):
        known = [item for item in vars(module) if not item.startswith("_")]
        raise InputError(f"module '{module_name}' has no '{attribute}'.{nearest(attribute, known)}")
    return getattr(module, attribute)
