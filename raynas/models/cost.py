"""What a network costs, counted on torch's meta device: nothing is allocated, nothing is trained."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from raynas.models.build import Shape, build

FLOAT32 = 4  # bytes


def parameters(network: nn.Module) -> int:
    """The number of trainable numbers."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def cost(config: dict[str, Any], input_shape: Shape, classes: int) -> dict[str, Any]:
    """`params`; `flops` of one forward pass of one image, a multiply and an add being two (torch's FlopCounterMode);
    `memory_mb`, 10^6 bytes in float32 of all weights and buffers and of the input and output of the layer for which
    these are largest, one image: what inference needs at least."""
    with torch.device("meta"), torch.no_grad():
        network = build(config, input_shape, classes).eval()
        largest = _watch(network)
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, *input_shape))
    weights = sum(tensor.numel() for tensor in (*network.parameters(), *network.buffers()))
    memory_mb = FLOAT32 * (weights + max(largest, default=0)) / 1e6
    return {"params": parameters(network), "flops": counter.get_total_flops(), "memory_mb": round(memory_mb, 6)}


def _watch(network: nn.Module) -> list[int]:
    """A list that a forward pass fills with the numbers in and out of each innermost layer."""
    found: list[int] = []

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        tensors = [value for value in (*inputs, output) if isinstance(value, Tensor)]
        found.append(sum(value.numel() for value in tensors))

    for module in network.modules():
        if next(module.children(), None) is None:
            module.register_forward_hook(hook)
    return found
