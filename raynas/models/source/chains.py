"""Chains of convolutions written out: genomes and small CNNs."""

from typing import Any

from raynas.models.genome import DENSE
from raynas.models.simple_cnn import FILTERS, effective_depth
from raynas.models.source.text import Source, side
from raynas.space.genome import parse, show_layers

Shape = tuple[int, int, int]
FUNCTIONS = {"relu": "F.relu", "sigmoid": "torch.sigmoid", "tanh": "torch.tanh", "swish": "F.silu", "gelu": "F.gelu"}
"""What the activations are called in torch."""


def genome_source(config: dict[str, Any], input_shape: Shape, classes: int) -> Source:
    """A layer a gene, with the sizes that its output has."""
    channels, height, width = input_shape
    genes = parse(config["architecture"])
    *body, end = genes
    layers, steps, names, place = [], [], {}, 0
    for number, gene in enumerate(body, start=1):
        reduces, even = gene.kind == "RC", gene.kernel % 2 == 0
        padding = 0 if reduces else (gene.kernel - 1) // 2
        if reduces and min(height, width) < gene.kernel:
            padding = gene.kernel // 2
        options = ", stride=2" * reduces + f", padding={padding}" * (padding > 0)
        layers.append(f"self.conv{number} = nn.Conv2d({channels}, {gene.filters}, {gene.kernel}{options})")
        if reduces:
            height, width = ((pixels + 2 * padding - gene.kernel) // 2 + 1 for pixels in (height, width))
        elif even:
            steps.append("x = F.pad(x, (0, 1, 0, 1))  # an even kernel: one more at the right and bottom")
            place += 1
        channels = gene.filters
        steps.append(f"x = {FUNCTIONS[gene.activation]}(self.conv{number}(x)){side((channels, height, width))}")
        names[f"conv{number}"] = f"features.{place}"
        place += 2
    activation = FUNCTIONS[end.activation]
    layers += [f"self.dense = nn.Linear({channels}, {DENSE})", f"self.logits = nn.Linear({DENSE}, {classes})"]
    steps += ["x = x.mean(dim=(2, 3))", f"x = {activation}(self.dense(x))"]
    last = "self.logits(x)"
    steps.append(f"return {activation}({last})" if config.get("activated_logits", False) else f"return {last}")
    names |= {"dense": "head.0", "logits": "head.2"}
    return Source(
        ("Its genome, a layer a line:", *(f"    {text}" for text in show_layers(genes).split(";"))),
        tuple(layers),
        tuple(steps),
        names,
    )


def simple_cnn_source(config: dict[str, Any], input_shape: Shape, classes: int) -> Source:
    """A convolution a block, then the hidden layer."""
    channels, height, width = input_shape
    depth, dropout, hidden = effective_depth(config["conv_layers"], height, width), config["dropout"], config["hidden"]
    layers, steps, names = [], [], {}
    for number in range(1, depth + 1):
        layers.append(f"self.conv{number} = nn.Conv2d({channels}, {FILTERS}, 3)")
        channels, height, width = FILTERS, (height - 2) // 2, (width - 2) // 2
        steps.append(f"x = F.max_pool2d(F.relu(self.conv{number}(x)), 2){side((channels, height, width))}")
        names[f"conv{number}"] = str(3 * (number - 1))
    after = 3 * depth + (dropout > 0) + 1
    if dropout > 0:
        layers.append(f"self.dropout = nn.Dropout({dropout})")
        steps.append("x = self.dropout(x)")
    layers.append(f"self.hidden = nn.Linear({channels * height * width}, {hidden})")
    layers.append(f"self.logits = nn.Linear({hidden}, {classes})")
    steps += ["x = F.relu(self.hidden(x.flatten(1)))", "return self.logits(x)"]
    names |= {"hidden": str(after), "logits": str(after + 2)}
    about = f"{depth} blocks of convolution, ReLU and pooling, then one hidden layer."
    return Source((about.replace("1 blocks", "One block"),), tuple(layers), tuple(steps), names)
