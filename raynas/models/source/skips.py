"""Chains with skips written out (ENAS macro)."""

from typing import Any

from raynas.models.macro import used_after
from raynas.models.source.parts import HALVE, PROJECT, Shape, halved, stem_lines
from raynas.models.source.text import Source, call, side, total
from raynas.space.macro import parse_layers, places_of

CONV = '''\
class Conv(nn.Sequential):
    """1x1 convolution, then one with a larger kernel."""

    def __init__(self, channels, kernel):
        super().__init__(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )'''

SEP_CONV = '''\
class SepConv(nn.Sequential):
    """1x1 convolution, then a depthwise one with a larger kernel and another 1x1."""

    def __init__(self, channels, kernel):
        padding = kernel // 2
        super().__init__(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(
                channels,
                channels,
                kernel,
                padding=padding,
                groups=channels,
                bias=False,
            ),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )'''

POOL = '''\
class Pool(nn.Sequential):
    """1x1 convolution, then 3x3 pooling."""

    def __init__(self, channels, pooling):
        super().__init__(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            pooling,
        )'''

AVG_POOL = """\
def average():
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)"""

MAX_POOL = """\
def maximum():
    return nn.MaxPool2d(3, stride=1, padding=1)"""

OPERATIONS = {
    "conv_3x3": "Conv({channels}, 3)",
    "sep_conv_3x3": "SepConv({channels}, 3)",
    "conv_5x5": "Conv({channels}, 5)",
    "sep_conv_5x5": "SepConv({channels}, 5)",
    "avg_pool_3x3": "Pool({channels}, average())",
    "max_pool_3x3": "Pool({channels}, maximum())",
}
"""What can be written out."""
BLOCKS = {" Conv(": CONV, " SepConv(": SEP_CONV, "average()": AVG_POOL, "maximum()": MAX_POOL, " Pool(": POOL}
"""The blocks by what stands where they are used."""


def enas_macro_source(config: dict[str, Any], input_shape: Shape, classes: int) -> Source:
    """A line or two a layer: its operation, and where skips are joined to it."""
    chain, channels = parse_layers(config["architecture"]), config.get("channels", 36)
    shared, dropout = config.get("form", "final") == "shared", config.get("dropout", 0)
    sides: tuple[int, ...] = input_shape[1:]
    layers = stem_lines(input_shape[0], channels, 1)
    steps = [f"x = self.stem(x){side((channels, *sides))}"]
    names, last = {"stem": "stem"}, "x"
    for number, (operation, skips) in enumerate(chain, start=1):
        made, shape = f"self.layer{number}({last})", side((channels, *sides))
        layers.append(f"self.layer{number} = {OPERATIONS[operation].format(channels=channels)}")
        names[f"layer{number}"] = f"operations.{number - 1}"
        last = f"x{number}"
        if number == 1:
            steps.append(f"{last} = {made}{shape}")
        else:
            names[f"join{number}"] = f"joins.{number - 1}"
            terms = [*(f"x{skip}" for skip in skips), made]
            joined = f"nn.BatchNorm2d({channels})" if shared else f"Project({len(terms) * channels}, {channels})"
            layers.append(f"self.join{number} = {joined}")
            steps += _joined(number, terms, shared, shape)
        if number in places_of(len(chain)):
            wider = channels if shared else 2 * channels
            sides = halved(sides)
            for layer in used_after(chain, number):
                layers.append(f"self.halve{number}_{layer} = Halve({channels}, {wider})")
                steps.append(f"x{layer} = self.halve{number}_{layer}(x{layer}){side((wider, *sides))}")
                names[f"halve{number}_{layer}"] = f"smaller.{number}_{layer}"
            channels = wider
    pooled = f"{last}.mean(dim=(2, 3))"
    if dropout > 0:
        layers.append(f"self.dropout = nn.Dropout({dropout})")
        pooled = f"self.dropout({pooled})"
    layers.append(f"self.logits = nn.Linear({channels}, {classes}, bias=False)")
    steps.append(f"return self.logits({pooled})")
    text = "\n".join(layers)
    blocks = ([] if shared or len(chain) == 1 else [PROJECT]) + ([HALVE] if "Halve(" in text else [])
    blocks += [block for word, block in BLOCKS.items() if word in text]
    return Source(
        ("A chain of layers with skips from earlier ones (ENAS's macro search).",),
        tuple(layers),
        tuple(steps),
        names | {"logits": "head"},
        tuple(blocks),
    )


def _joined(number: int, terms: list[str], shared: bool, shape: str) -> list[str]:
    """`x3 = self.join3(…)` of the skips and what the layer made: their sum, or all of them side by side."""
    name = f"x{number}"
    if len(terms) == 1:
        return [f"{name} = self.join{number}({terms[0]}){shape}"]
    if shared:
        return [*total(name, terms, 8), f"{name} = self.join{number}({name}){shape}"]
    return [*call(f"{name} = torch.cat([", terms, "], dim=1)", 8), f"{name} = self.join{number}({name}){shape}"]
