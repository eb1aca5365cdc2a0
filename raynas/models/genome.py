"""The network of a layered genome.

Convolutions with bias and activation, NC at stride 1 with 'same' padding, RC at stride 2 with no padding; then global
average pooling, a dense layer of 64 and the logits. No normalisation, pooling, dropout or skips. Kernels start Glorot
uniform and biases zero (the defaults of the Keras skeleton in which these genomes were published). Parameters:
sum over convolutions of (Cin * Cout * k * k + Cout) + (Clast * 64 + 64) + (64 * classes + classes).
"""

from typing import Any

from torch import Tensor, nn

from raynas.models.ops import ACTIVATIONS
from raynas.space.genome import parse
from raynas.tables import InputError

DENSE = 64


class GenomeCNN(nn.Module):
    """(B, C, H, W) -> (B, classes). `notes` says where a reduction had to be padded because too little was left."""

    def __init__(self, genome: str, input_shape: tuple[int, int, int], classes: int, activated_logits: bool = False):
        super().__init__()
        channels, height, width = input_shape
        *body, end = parse(genome)
        layers: list[nn.Module] = []
        notes = []
        for number, layer in enumerate(body, start=1):
            reduces = layer.kind == "RC"
            padding = 0 if reduces else (layer.kernel - 1) // 2
            if reduces and min(height, width) < layer.kernel:
                padding = layer.kernel // 2
                notes.append(f"layer {number}: padded, a {layer.kernel}x{layer.kernel} kernel on {height}x{width}")
            if not reduces and layer.kernel % 2 == 0:  # Keras 'same': the odd pixel goes to the bottom and right
                layers.append(nn.ZeroPad2d((0, 1, 0, 1)))
            layers.append(nn.Conv2d(channels, layer.filters, layer.kernel, 2 if reduces else 1, padding))
            layers.append(ACTIVATIONS[layer.activation]())
            channels = layer.filters
            if reduces:
                height, width = ((side + 2 * padding - layer.kernel) // 2 + 1 for side in (height, width))
        self.features = nn.Sequential(*layers)
        logits: list[nn.Module] = [nn.Linear(DENSE, classes)]
        if activated_logits:
            logits.append(ACTIVATIONS[end.activation]())
        self.head = nn.Sequential(nn.Linear(channels, DENSE), ACTIVATIONS[end.activation](), *logits)
        self.notes = tuple(notes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean(dim=(2, 3)))


def build_genome(config: dict[str, Any], input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """`architecture` is the genome. `activated_logits: true` sends the logits through the end's activation, as the
    published skeleton did; with relu or stacked sigmoids that kills about a third of the networks."""
    activated = config.get("activated_logits", False)
    if not isinstance(activated, bool):
        raise InputError(f"activated_logits is true or false, got {activated!r}")
    return GenomeCNN(config["architecture"], input_shape, classes, activated)
