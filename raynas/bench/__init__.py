"""How fast, how good: every claim is a comparison with the alternative in the same run."""

from collections.abc import Callable

from raynas.bench.frames import frames
from raynas.bench.oneshot import arcs, oneshot
from raynas.bench.overhead import overhead
from raynas.bench.proxies import proxy_ranks
from raynas.bench.quality import quality
from raynas.bench.scaling import scaling
from raynas.bench.searchers import searchers, strategies
from raynas.bench.stopping import stopping
from raynas.bench.training import training

BENCHES: dict[str, Callable[..., None]] = {
    "overhead": overhead,
    "frames": frames,
    "training": training,
    "searchers": searchers,
    "strategies": strategies,
    "quality": quality,
    "scaling": scaling,
    "stopping": stopping,
    "proxies": proxy_ranks,
    "oneshot": oneshot,
    "arcs": arcs,
}

__all__ = ["BENCHES"]
