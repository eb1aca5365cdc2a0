"""Networks as plain Python: a built network written out layer by layer, in a file that imports only torch."""

from collections.abc import Callable
from typing import Any

from raynas.models.build import DEFAULT
from raynas.models.source.chains import genome_source, simple_cnn_source
from raynas.models.source.dense_cell import nas_bench_201_source
from raynas.models.source.skips import enas_macro_source
from raynas.models.source.text import Source, write
from raynas.models.source.two_inputs import enas_micro_source

__all__ = ["SOURCES", "Source", "source", "write"]

SOURCES: dict[str, Callable[[dict[str, Any], tuple[int, int, int], int], Source]] = {
    "genome": genome_source,
    "simple_cnn": simple_cnn_source,
    "nas_bench_201": nas_bench_201_source,
    "enas_micro": enas_micro_source,
    "enas_macro": enas_macro_source,
}
"""By kind of network, as in MODELS."""


def source(config: dict[str, Any], input_shape: tuple[int, int, int], classes: int) -> Source | None:
    """The network that `build` makes of this config, written out; None for a model of the user's own."""
    writer = SOURCES.get(config.get("model", DEFAULT))
    return None if writer is None else writer(config, input_shape, classes)
