"""Networks of a dense cell written out (NAS-Bench-201)."""

from typing import Any

from raynas.models.source.text import Source, class_text, side, total
from raynas.space.cell import SAME, ZERO, Nodes, parse

Shape = tuple[int, int, int]

CONV = '''\
class ConvBlock(nn.Sequential):
    """ReLU, convolution, batch normalisation."""

    def __init__(self, entering, leaving, kernel, stride=1):
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(entering, leaving, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(leaving),
        )'''

POOL = """\
def avg_pool(x):
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)"""

REDUCTION = '''\
class Reduction(nn.Module):
    """Halves the sides and doubles the channels, with a shortcut."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = ConvBlock(channels, 2 * channels, 3, stride=2)
        self.conv2 = ConvBlock(2 * channels, 2 * channels, 3)
        self.shortcut = nn.Conv2d(channels, 2 * channels, 1, bias=False)

    def forward(self, x):
        pooled = F.avg_pool2d(x, 2, ceil_mode=True)
        return self.conv2(self.conv1(x)) + self.shortcut(pooled)'''

KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
OPERATIONS = (SAME, "avg_pool_3x3", *KERNELS)
"""What can be written out; `none` is nothing."""


def needed(nodes: Nodes) -> dict[int, list[tuple[int, str]]]:
    """For each node on a way from the input to the output: (source, operation) of the edges that are on one too."""
    reached = {0}
    for node, edges in enumerate(nodes, start=1):
        if any(name != ZERO and source in reached for source, name in enumerate(edges)):
            reached.add(node)
    found: dict[int, list[tuple[int, str]]] = {}
    wanted = {len(nodes)} & reached
    for node in range(len(nodes), 0, -1):
        if node in wanted:
            edges = nodes[node - 1]
            found[node] = [(source, name) for source, name in enumerate(edges) if name != ZERO and source in reached]
            wanted |= {source for source, _ in found[node]}
    return dict(sorted(found.items()))


def _term(source: int, node: int, name: str) -> str:
    if name in KERNELS:
        return f"self.conv_{source}_{node}(node{source})"
    return f"avg_pool(node{source})" if name == "avg_pool_3x3" else f"node{source}"


def _cell(cell: str, nodes: Nodes) -> str:
    """The class of the cell."""
    live, last = needed(nodes), len(nodes)
    layers, steps = [], []
    for node, edges in live.items():
        for source, name in edges:
            if name in KERNELS:
                layers.append(f"self.conv_{source}_{node} = ConvBlock(channels, channels, {KERNELS[name]})")
        steps += total(f"node{node}", [_term(source, node, name) for source, name in edges], 8)
    steps.append(f"return node{last}" if live else "return torch.zeros_like(node0)")
    about = ["Nodes are sums of operations on earlier nodes; node 0 is the input:", "", *_lines(cell)]
    init = "self, channels" if layers else "self"
    return class_text("Cell", about, init, layers, "self, node0", steps)


def _lines(cell: str) -> list[str]:
    """The cell string, a node a line."""
    return [f"node {number}: {text}" for number, text in enumerate(cell.split("+"), start=1)]


def nas_bench_201_source(config: dict[str, Any], input_shape: Shape, classes: int) -> Source:
    """Three stages of equal cells. Edges that lead nowhere are left out, with their weights."""
    nodes = parse(config["architecture"])
    channels, cells = config.get("channels", 16), config.get("cells", 5)
    live = needed(nodes)
    convs = {
        f"conv_{source}_{node}": f"nodes.{node - 1}.{source}"
        for node, edges in live.items()
        for source, name in edges
        if name in KERNELS
    }
    _, height, width = input_shape
    layers = [
        "self.stem = nn.Sequential(",
        f"    nn.Conv2d({input_shape[0]}, {channels}, 3, padding=1, bias=False),",
        f"    nn.BatchNorm2d({channels}),",
        ")",
    ]
    steps = [f"x = self.stem(x){side((channels, height, width))}"]
    names, place = {"stem.0": "features.0", "stem.1": "features.1"}, 2
    for stage in (1, 2, 3):
        if stage > 1:
            layers.append(f"self.reduction{stage - 1} = Reduction({channels})")
            channels, height, width = 2 * channels, (height + 1) // 2, (width + 1) // 2
            steps.append(f"x = self.reduction{stage - 1}(x){side((channels, height, width))}")
            for name, there in (("conv1", "body.0"), ("conv2", "body.1"), ("shortcut", "shortcut.1")):
                names[f"reduction{stage - 1}.{name}"] = f"features.{place}.{there}"
            place += 1
        made = f"Cell({channels})" if convs else "Cell()"
        stacked = made if cells == 1 else f"nn.Sequential(*({made} for _ in range({cells})))"
        layers.append(f"self.stage{stage} = {stacked}")
        steps.append(f"x = self.stage{stage}(x)")
        for number in range(cells):
            cell = f"stage{stage}" if cells == 1 else f"stage{stage}.{number}"
            names |= {f"{cell}.{name}": f"features.{place + number}.{there}" for name, there in convs.items()}
        place += cells
    layers += [f"self.norm = nn.BatchNorm2d({channels})", f"self.logits = nn.Linear({channels}, {classes})"]
    steps += ["x = F.relu(self.norm(x)).mean(dim=(2, 3))", "return self.logits(x)"]
    names |= {"norm": f"features.{place}", "logits": "head"}
    pools = any(name == "avg_pool_3x3" for edges in live.values() for _, name in edges)
    blocks = (CONV, *([POOL] if pools else []), _cell(config["architecture"], nodes), REDUCTION)
    each = "one cell" if cells == 1 else f"{cells} equal cells"
    about = (f"Three stages of {each} (the space of NAS-Bench-201); between them the", "images get smaller.")
    return Source(about, tuple(layers), tuple(steps), names, blocks)
