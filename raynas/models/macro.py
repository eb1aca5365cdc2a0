"""Networks of ENAS's macro search (Pham et al., 2018, sec. 2.3): an operation a layer, with skips from earlier layers.

A 3x3 convolution, then the layers; after a third and two thirds of them a factorised reduction of all that is used later.
Two forms, as in the authors' code. `final`: skips are concatenated and projected by a 1x1 convolution, and channels
double at a reduction. `shared`, the one that a supernet can hold: skips are added, channels stay. Separable operations are
separable in both (the authors' final form has dense ones in their place).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from raynas.models.micro import FORMS, FactorizedReduction, relu_conv, share, start_like_he, stem, whole
from raynas.space.macro import Layers, parse_layers, places_of
from raynas.tables import InputError, look_up


def _branch(entering: int, channels: int, *rest: nn.Module) -> nn.Sequential:
    """1x1 convolution, batch normalisation, ReLU, then the operation proper."""
    return nn.Sequential(
        nn.Conv2d(entering, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=False), *rest
    )


def _conv(channels: int, kernel: int, separable: bool) -> list[nn.Module]:
    groups = channels if separable else 1
    layers: list[nn.Module] = [nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups, bias=False)]
    if separable:
        layers.append(nn.Conv2d(channels, channels, 1, bias=False))
    return [*layers, nn.BatchNorm2d(channels), nn.ReLU()]


OPERATIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "conv_3x3": lambda entering, channels: _branch(entering, channels, *_conv(channels, 3, False)),
    "sep_conv_3x3": lambda entering, channels: _branch(entering, channels, *_conv(channels, 3, True)),
    "conv_5x5": lambda entering, channels: _branch(entering, channels, *_conv(channels, 5, False)),
    "sep_conv_5x5": lambda entering, channels: _branch(entering, channels, *_conv(channels, 5, True)),
    "avg_pool_3x3": lambda entering, channels: _branch(
        entering, channels, nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    ),
    "max_pool_3x3": lambda entering, channels: _branch(entering, channels, nn.MaxPool2d(3, 1, 1)),
}
"""By name, for (entering, leaving) channels."""


def used_after(layers: Layers, place: int) -> list[int]:
    """The layers up to `place` whose output something later reads, `place` itself among them."""
    later = {skip for _, skips in layers[place:] for skip in skips if skip < place}
    return [*sorted(later), place]


def run_layers(
    images: Tensor,
    layers: Layers,
    operate: Callable[[int, Tensor], Tensor],
    join: Callable[[int, list[Tensor]], Tensor],
    shrink: Callable[[int, int, Tensor], Tensor],
) -> Tensor:
    """The one forward of every macro network: `operate(layer, input)`, `join(layer, [skips..., what operate made])`,
    `shrink(place, layer, output of that layer)`. Layers count from 1."""
    states: dict[int, Tensor] = {}
    last = images
    for number, (_, skips) in enumerate(layers, start=1):
        last = join(number, [*(states[skip] for skip in skips), operate(number, last)])
        states[number] = last
        if number in places_of(len(layers)):
            states = {layer: shrink(number, layer, states[layer]) for layer in used_after(layers, number)}
            last = states[number]
    return last


class MacroNetwork(nn.Module):
    """(B, C, H, W) -> (B, classes)."""

    def __init__(
        self,
        layers: Layers,
        input_shape: tuple[int, int, int],
        classes: int,
        *,
        channels: int = 36,
        dropout: float = 0.0,
        shared: bool = False,
    ):
        super().__init__()
        self.layers = layers
        self.stem = stem(input_shape[0], channels, 1)
        self.operations, self.joins, self.smaller = nn.ModuleList(), nn.ModuleList(), nn.ModuleDict()
        for number, (name, skips) in enumerate(layers, start=1):
            self.operations.append(look_up("operation", name, OPERATIONS)(channels, channels))
            if number == 1:
                self.joins.append(nn.Identity())
            else:
                self.joins.append(
                    nn.BatchNorm2d(channels) if shared else relu_conv((1 + len(skips)) * channels, channels)
                )
            if number in places_of(len(layers)):
                wider = channels if shared else 2 * channels
                for layer in used_after(layers, number):
                    self.smaller[f"{number}_{layer}"] = FactorizedReduction(channels, wider)
                channels = wider
        self.shared = shared
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, classes, bias=False)
        start_like_he(self)

    def forward(self, images: Tensor) -> Tensor:
        def join(layer: int, terms: list[Tensor]) -> Tensor:
            together = sum(terms[1:], terms[0]) if self.shared else torch.cat(terms, dim=1)
            return self.joins[layer - 1](together)

        last = run_layers(
            self.stem(images),
            self.layers,
            lambda layer, given: self.operations[layer - 1](given),
            join,
            lambda place, layer, given: self.smaller[f"{place}_{layer}"](given),
        )
        return self.head(self.dropout(last.mean(dim=(2, 3))))


def build_macro(config: dict[str, Any], input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """`architecture` is the network, by the grammar or as ENAS's integers; `channels` (36) before the first reduction."""
    layers = parse_layers(config["architecture"])
    sides = 2 ** len(places_of(len(layers)))
    if min(input_shape[1:]) < sides:
        raise InputError(f"a macro network halves its images {len(places_of(len(layers)))} times, got {input_shape}")
    return MacroNetwork(
        layers,
        input_shape,
        classes,
        channels=whole(config, "channels", 36),
        dropout=share(config, "dropout"),
        shared=look_up("form", config.get("form", "final"), FORMS),
    )
