"""What a network costs, counted on torch's meta device: nothing is allocated, nothing is trained."""

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from raynas.models.build import Shape, build


def parameters(network: nn.Module) -> int:
    """The number of trainable numbers."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def cost(config: dict[str, Any], input_shape: Shape, classes: int) -> dict[str, int]:
    """`params`, and `flops` of one forward pass of one image: a multiply and an add are two (torch's FlopCounterMode)."""
    with torch.device("meta"), torch.no_grad():
        network = build(config, input_shape, classes).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, *input_shape))
    return {"params": parameters(network), "flops": counter.get_total_flops()}
