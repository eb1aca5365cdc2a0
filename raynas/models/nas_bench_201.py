"""The network of a dense cell, as in NAS-Bench-201 (Dong & Yang, 2020, sec. 2.1).

A 3x3 convolution to `channels` (16), three stages of `cells` (5) equal cells with 16, 32 and 64 channels, between them a
residual block of stride 2 that doubles the channels; batch normalisation, ReLU, global average pooling and the logits.
Parameters on RGB with 10 classes: 73,306 + 28,000 a 1x1 + 243,040 a 3x3 convolution in the cell.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from raynas.space.cell import ZERO, Nodes, parse
from raynas.tables import InputError, look_up


def conv(entering: int, leaving: int, kernel: int, stride: int = 1) -> nn.Module:
    """ReLU, convolution without bias, batch normalisation."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(entering, leaving, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(leaving),
    )


OPERATIONS: dict[str, Callable[[int], nn.Module]] = {
    "skip_connect": lambda channels: nn.Identity(),
    "nor_conv_1x1": lambda channels: conv(channels, channels, 1),
    "nor_conv_3x3": lambda channels: conv(channels, channels, 3),
    "avg_pool_3x3": lambda channels: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
}
"""By name, for a number of channels; `none` is no module: its edge brings nothing."""


class CellModule(nn.Module):
    """(B, C, H, W) -> (B, C, H, W): node j is the sum of its edges' operations on nodes 0..j-1; the last is the output."""

    def __init__(self, nodes: Nodes, channels: int):
        super().__init__()
        self.nodes = nn.ModuleList(
            nn.ModuleDict(
                {
                    str(source): look_up("operation", name, OPERATIONS)(channels)
                    for source, name in enumerate(node)
                    if name != ZERO
                }
            )
            for node in nodes
        )

    def forward(self, images: Tensor) -> Tensor:
        reached: list[Tensor | None] = [images]
        for node in self.nodes:
            assert isinstance(node, nn.ModuleDict)
            terms = [edge(before) for source, edge in node.items() if (before := reached[int(source)]) is not None]
            reached.append(sum(terms[1:], terms[0]) if terms else None)
        return images * 0.0 if reached[-1] is None else reached[-1]


class Reduction(nn.Module):
    """(B, C, H, W) -> (B, 2 C, H / 2, W / 2): the residual block between stages."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(conv(channels, 2 * channels, 3, 2), conv(2 * channels, 2 * channels, 3))
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, 2, ceil_mode=True), nn.Conv2d(channels, 2 * channels, 1, bias=False)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.shortcut(images) + self.body(images)


class CellNetwork(nn.Module):
    """(B, C, H, W) -> (B, classes)."""

    def __init__(self, cell: str, input_shape: tuple[int, int, int], classes: int, channels: int = 16, cells: int = 5):
        super().__init__()
        nodes = parse(cell)
        layers: list[nn.Module] = [
            nn.Conv2d(input_shape[0], channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        ]
        for stage in range(3):
            if stage > 0:
                layers.append(Reduction(channels))
                channels *= 2
            layers += [CellModule(nodes, channels) for _ in range(cells)]
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean(dim=(2, 3)))


def build_nas_bench_201(config: dict[str, Any], input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """`architecture` is the cell; `channels` (16) of the first stage and `cells` (5) a stage make it smaller or larger."""
    channels, cells = config.get("channels", 16), config.get("cells", 5)
    for name, value in (("channels", channels), ("cells", cells)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{name} is a whole number of at least 1, got {value!r}")
    return CellNetwork(config["architecture"], input_shape, classes, channels, cells)
