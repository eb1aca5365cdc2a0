"""A config becomes a network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from raynas.models.genome import build_genome
from raynas.models.macro import build_macro
from raynas.models.micro import build_micro
from raynas.models.nas_bench_201 import build_nas_bench_201
from raynas.models.simple_cnn import build_simple_cnn, merge_simple_cnn
from raynas.tables import InputError, import_named, is_import_name, unknown

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Model:
    """A kind of network: its builder, the parameters that make the network, those it may also read, and which configs
    mean the same network (None: no two do)."""

    build: Callable[[dict[str, Any], Shape, int], nn.Module]
    needs: tuple[str, ...]
    reads: tuple[str, ...] = ()
    merge: Callable[[dict[str, Any], Shape], dict[str, Any]] | None = None


MODELS: dict[str, Model] = {
    "genome": Model(build_genome, ("architecture",), ("activated_logits",)),
    "simple_cnn": Model(build_simple_cnn, ("conv_layers", "hidden", "dropout"), (), merge_simple_cnn),
    "nas_bench_201": Model(build_nas_bench_201, ("architecture",), ("channels", "cells")),
    "enas_micro": Model(
        build_micro,
        ("normal", "reduction"),
        ("layers", "channels", "reductions", "stem_stride", "dropout", "drop_path", "auxiliary", "form"),
    ),
    "enas_macro": Model(build_macro, ("architecture",), ("channels", "dropout", "form")),
}
DEFAULT = "genome"


def model(config: Mapping[str, Any]) -> Model:
    """The kind of network that `config["model"]` names: a name in MODELS or `package.module:function`, a function of
    (config, input_shape, classes) that returns a module."""
    name = config.get("model", DEFAULT)
    if isinstance(name, str) and name in MODELS:
        return MODELS[name]
    if isinstance(name, str) and is_import_name(name):
        return Model(import_named("model", name), tuple(key for key in config if key != "model"))
    raise unknown("model", str(name), MODELS)


def build(config: dict[str, Any], input_shape: Shape, classes: int) -> nn.Module:
    """The untrained network of `config` for images of shape (C, H, W): C 1 or 3, H and W at least 8."""
    kind = model(config)
    channels, height, width = input_shape
    if channels not in (1, 3) or min(height, width) < 8 or classes < 1:
        raise InputError(
            f"networks take 1 or 3 channels, sides from 8 px and a class or more, got {input_shape}, {classes}"
        )
    missing = [name for name in kind.needs if name not in config]
    if missing:
        raise InputError(
            f"model '{config.get('model', DEFAULT)}' needs {', '.join(missing)}; the config has {', '.join(config)}"
        )
    return kind.build(config, input_shape, classes)


def same_network(config: Mapping[str, Any], input_shape: Shape) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    """The rule by which configs of this kind mean the same network at this input size; None when no two do."""
    merge = model(config).merge
    return None if merge is None else lambda other: merge(other, input_shape)
