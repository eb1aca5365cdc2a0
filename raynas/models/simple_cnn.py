"""The small CNN of the random search on OCTMNIST: blocks of convolution, ReLU and pooling, then one hidden layer.

Each block is a 3x3 convolution with 32 filters and no padding, ReLU and 2x2 max pooling; a side of n becomes
(n - 2) // 2. Blocks end early once a side is 2 or less, so at 28 px 3, 4 and 5 blocks are the same network.
Parameters: 32 * (9 * C + 1) + 9248 * (depth - 1) + 32 * side^2 * hidden + hidden + hidden * classes + classes.
"""

from typing import Any

from torch import nn

FILTERS = 32


def effective_depth(blocks: int, height: int, width: int) -> int:
    """How many of `blocks` blocks an image of this size has room for."""
    depth, side = 0, min(height, width)
    while depth < blocks and (depth == 0 or side > 2) and (side - 2) // 2 >= 1:
        depth, side = depth + 1, (side - 2) // 2
    return depth


def build_simple_cnn(config: dict[str, Any], input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """`conv_layers` blocks, dropout with p = `dropout` after them when p > 0, `hidden` units."""
    channels, height, width = input_shape
    depth = effective_depth(config["conv_layers"], height, width)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(channels, FILTERS, 3), nn.ReLU(), nn.MaxPool2d(2)]
        channels, height, width = FILTERS, (height - 2) // 2, (width - 2) // 2
    if config["dropout"] > 0:
        layers.append(nn.Dropout(config["dropout"]))
    hidden = config["hidden"]
    layers += [nn.Flatten(), nn.Linear(channels * height * width, hidden), nn.ReLU(), nn.Linear(hidden, classes)]
    return nn.Sequential(*layers)


def merge_simple_cnn(config: dict[str, Any], input_shape: tuple[int, int, int]) -> dict[str, Any]:
    """Blocks that there is no room for are no part of the network."""
    return {**config, "conv_layers": effective_depth(config["conv_layers"], *input_shape[1:])}
