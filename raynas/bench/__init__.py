"""How fast: every claim of speed is a ratio against the alternative in the same run."""

from collections.abc import Callable

from raynas.bench.overhead import overhead
from raynas.bench.training import training

BENCHES: dict[str, Callable[..., None]] = {"overhead": overhead, "training": training}

__all__ = ["BENCHES"]
