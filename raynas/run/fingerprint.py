"""Fingerprints: which code, in which environment, made the results."""

import hashlib
import importlib.metadata
import inspect
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBRARIES = ("raynas", "ray", "torch", "torchvision", "optuna", "numpy", "pandas")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The CPU's name: arithmetic is the same to the last bit on the same one only."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def _hash_of(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def fingerprints(function: Callable[..., Any] | None) -> dict[str, Any]:
    """Hashes of raynas's own code and of the user's file, versions, and the machine."""
    own = Path(__file__).parents[1]
    found: dict[str, Any] = {
        "code": _hash_of(sorted(own.rglob("*.py"))),
        "versions": {name: _version(name) for name in LIBRARIES},
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": _processor(),
    }
    if function is not None:
        source = inspect.getsourcefile(inspect.unwrap(function))
        if source and Path(source).is_file():
            found["user_code"] = _hash_of([Path(source)])
    return found
