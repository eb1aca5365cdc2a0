"""How fast, how good: every claim is a comparison with the alternative in the same run."""

from collections.abc import Callable

from raynas.bench.overhead import overhead
from raynas.bench.quality import quality
from raynas.bench.searchers import searchers, strategies
from raynas.bench.training import training

BENCHES: dict[str, Callable[..., None]] = {
    "overhead": overhead,
    "training": training,
    "searchers": searchers,
    "strategies": strategies,
    "quality": quality,
}

__all__ = ["BENCHES"]
