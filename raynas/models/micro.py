"""Networks stacked from two cells of two inputs, as ENAS's micro search makes them (Pham et al., 2018, sec. 2.4).

A 3x3 convolution to 3 x `channels`, then `layers` + 2 cells; the reducing ones halve the side and double the channels. Two
forms, both as in the authors' code. `final`: the operations of a reducing cell have stride 2, a cell's output is the
concatenation of its loose ends. `shared`, the one that a supernet can hold: a factorised reduction stands before a
reducing cell, and loose ends are projected to the cell's channels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raynas.space.micro_cell import INPUTS, Pairs, loose_ends, parse_pairs, reducing
from raynas.tables import InputError, look_up


class Side(NamedTuple):
    channels: int
    halvings: int


def relu_conv(entering: int, leaving: int) -> nn.Sequential:
    """ReLU, 1x1 convolution without bias, batch normalisation."""
    return nn.Sequential(nn.ReLU(), nn.Conv2d(entering, leaving, 1, bias=False), nn.BatchNorm2d(leaving))


def sep_conv(channels: int, kernel: int, stride: int) -> nn.Sequential:
    """Twice: ReLU, depthwise convolution, 1x1 convolution, batch normalisation; the first has the stride."""
    layers: list[nn.Module] = []
    for step in (stride, 1):
        layers += [
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel, step, kernel // 2, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        ]
    return nn.Sequential(*layers)


class FactorizedReduction(nn.Module):
    """(B, C, H, W) -> (B, leaving, ceil(H / 2), ceil(W / 2)): 1x1 convolutions of every other pixel and of those between."""

    def __init__(self, entering: int, leaving: int):
        super().__init__()
        if leaving < 2:
            raise InputError("channels must be at least 2: a reduction makes half of them of either pixels, got 1")
        self.even = nn.Conv2d(entering, leaving // 2, 1, 2, bias=False)
        self.odd = nn.Conv2d(entering, leaving - leaving // 2, 1, 2, bias=False)
        self.norm = nn.BatchNorm2d(leaving)

    def forward(self, images: Tensor) -> Tensor:
        between = F.pad(images, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.even(images), self.odd(between)], dim=1))


OPERATIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "sep_conv_3x3": lambda channels, stride: sep_conv(channels, 3, stride),
    "sep_conv_5x5": lambda channels, stride: sep_conv(channels, 5, stride),
    "avg_pool_3x3": lambda channels, stride: nn.AvgPool2d(3, stride, 1, count_include_pad=False),
    "max_pool_3x3": lambda channels, stride: nn.MaxPool2d(3, stride, 1),
    "skip_connect": lambda channels, stride: nn.Identity() if stride == 1 else FactorizedReduction(channels, channels),
}
"""By name, for (channels, stride)."""


def adapt(given: Side, wanted: Side) -> nn.Module:
    """What makes a cell's input fit: nothing, a 1x1 convolution, or a factorised reduction."""
    if given.halvings < wanted.halvings:
        return nn.Sequential(nn.ReLU(), FactorizedReduction(given.channels, wanted.channels))
    return (
        nn.Identity() if given.channels == wanted.channels else relu_conv(*(side.channels for side in (given, wanted)))
    )


def add_nodes(states: list[Tensor], pairs: Pairs, term: Callable[[int, int, Tensor], Tensor]) -> None:
    """Append the nodes of a cell to `states` (its two inputs), each the sum of two `term(node, which of the two, input)`;
    the one forward of every two-input cell."""
    for node, pair in enumerate(pairs):
        one, other = (term(node, which, states[source]) for which, (_, source) in enumerate(pair))
        states.append(one + other)


def drop_path(branches: Tensor, rate: float) -> Tensor:
    """(B, ...): each image's branch is zero with probability `rate`, else divided by 1 - rate (Larsson et al., 2017)."""
    kept = torch.rand(len(branches), 1, 1, 1, device=branches.device) >= rate
    return branches * kept / (1 - rate)


class MicroCellModule(nn.Module):
    """One cell on the outputs of the two before; `drop` is the rate of drop-path on all but identities, in training."""

    def __init__(self, pairs: Pairs, before: tuple[Side, Side], channels: int, reduces: bool, shared: bool):
        super().__init__()
        self.pairs, self.drop = pairs, 0.0
        entering = Side(channels, before[1].halvings)
        stride = 2 if reduces and not shared else 1
        second = [adapt(before[1], entering)] + ([] if shared else [relu_conv(channels, channels)])
        self.inputs = nn.ModuleList([adapt(before[0], entering), nn.Sequential(*second)])
        self.nodes = nn.ModuleList(
            nn.ModuleList(
                look_up("operation", name, OPERATIONS)(channels, stride if source < INPUTS else 1)
                for name, source in pair
            )
            for pair in pairs
        )
        loose = loose_ends(pairs)
        self.shrink = nn.ModuleDict(
            {str(node): FactorizedReduction(channels, channels) for node in loose if node < INPUTS and stride == 2}
        )
        self.project = relu_conv(len(loose) * channels, channels) if shared else nn.Identity()
        self.leaving = Side(channels if shared else len(loose) * channels, entering.halvings + stride - 1)

    def forward(self, older: Tensor, last: Tensor) -> Tensor:
        states = [adapted(given) for adapted, given in zip(self.inputs, (older, last), strict=True)]

        def term(node: int, which: int, given: Tensor) -> Tensor:
            made = self.nodes[node][which](given)  # type: ignore[index]
            droppable = self.training and self.drop > 0 and self.pairs[node][which][0] != "skip_connect"
            return drop_path(made, self.drop) if droppable else made

        add_nodes(states, self.pairs, term)
        for node, smaller in self.shrink.items():  # inputs that are loose ends become as small as the nodes
            states[int(node)] = smaller(states[int(node)])
        return self.project(torch.cat([states[node] for node in loose_ends(self.pairs)], dim=1))


class AuxiliaryHead(nn.Module):
    """(B, C, H, W) -> (B, classes): the classifier half-way (Szegedy et al., 2015), in training only."""

    def __init__(self, channels: int, height: int, width: int, classes: int):
        super().__init__()
        sides = tuple((side - 5) // 3 + 1 for side in (height, width))
        if min(sides) < 1:
            raise InputError(f"an auxiliary head needs 5 px or more where it stands, got {height}x{width}")
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(5, 3),
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, sides, bias=False),  # type: ignore[arg-type]
            nn.BatchNorm2d(768),
            nn.ReLU(),
        )
        self.head = nn.Linear(768, classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean(dim=(2, 3)))


def stem(entering: int, leaving: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(entering, leaving, 3, stride, padding=1, bias=False), nn.BatchNorm2d(leaving))


class MicroNetwork(nn.Module):
    """(B, C, H, W) -> (B, classes); in training, with `auxiliary` > 0, the auxiliary head's logits too. `at` tells it how
    much of its training is done: drop-path grows with it, and with the layer."""

    def __init__(
        self,
        normal: Pairs,
        reduction: Pairs,
        input_shape: tuple[int, int, int],
        classes: int,
        *,
        layers: int = 15,
        channels: int = 36,
        reductions: int = 2,
        stem_stride: int = 1,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        auxiliary: float = 0.0,
        shared: bool = False,
    ):
        super().__init__()
        self.drop_path, self.auxiliary = drop_path, auxiliary
        self.stem = stem(input_shape[0], 3 * channels, stem_stride)
        places = reducing(layers, reductions)
        self.look_at = places[-1] + 1 if reductions == 2 else places[-2] + 1  # the cell that the auxiliary head sees
        older = last = Side(3 * channels, stem_stride - 1)
        self.cells, self.smaller = nn.ModuleList(), nn.ModuleDict()
        for number in range(layers + 2):
            reduces = number in places
            if reduces:
                channels *= 2
                if shared:
                    self.smaller[str(number)] = FactorizedReduction(last.channels, channels)
                    older, last = last, Side(channels, last.halvings + 1)
            cell = MicroCellModule(reduction if reduces else normal, (older, last), channels, reduces, shared)
            self.cells.append(cell)
            older, last = last, cell.leaving
            if number == self.look_at and auxiliary > 0:
                height, width = (-(-side // 2**last.halvings) for side in input_shape[1:])
                self.second_head = AuxiliaryHead(last.channels, height, width, classes)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(last.channels, classes, bias=False)
        start_like_he(self)

    def at(self, progress: float) -> None:
        """Drop-path at `progress` in [0, 1] of the training."""
        for number, cell in enumerate(self.cells, start=1):
            cell.drop = progress * self.drop_path * number / len(self.cells)  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        older = last = self.stem(images)
        second = None
        for number, cell in enumerate(self.cells):
            if str(number) in self.smaller:
                older, last = last, self.smaller[str(number)](last)
            older, last = last, cell(older, last)
            if number == self.look_at and self.auxiliary > 0 and self.training:
                second = self.second_head(last)
        logits = self.head(self.dropout(torch.relu(last).mean(dim=(2, 3))))
        return logits if second is None else (logits, second)


def start_like_he(network: nn.Module) -> None:
    """Kernels start normal with variance 2 / fan-in (He et al., 2015)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)


def whole(config: dict[str, Any], name: str, default: int) -> int:
    value = config.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} is a whole number of at least 1, got {value!r}")
    return value


def one_of(config: dict[str, Any], name: str, allowed: tuple[int, ...]) -> int:
    """One of a few numbers; the first where none is said."""
    value = config.get(name, allowed[0])
    if isinstance(value, bool) or value not in allowed:
        raise InputError(f"{name} is {' or '.join(map(str, allowed))}, got {value!r}")
    return int(value)


def share(config: dict[str, Any], name: str) -> float:
    value = config.get(name, 0.0)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
        raise InputError(f"{name} is a number from 0 to below 1, got {value!r}")
    return float(value)


FORMS = {"final": False, "shared": True}


def build_micro(config: dict[str, Any], input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """`normal` and `reduction` are the cells, by the grammar or as ENAS's 20 integers; see MicroNetwork for the rest."""
    return MicroNetwork(
        parse_pairs(config["normal"]),
        parse_pairs(config["reduction"]),
        input_shape,
        classes,
        layers=whole(config, "layers", 15),
        channels=whole(config, "channels", 36),
        reductions=one_of(config, "reductions", (2, 3)),
        stem_stride=one_of(config, "stem_stride", (1, 2)),
        dropout=share(config, "dropout"),
        drop_path=share(config, "drop_path"),
        auxiliary=share(config, "auxiliary"),
        shared=look_up("form", config.get("form", "final"), FORMS),
    )
