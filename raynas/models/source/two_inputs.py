"""Networks of two-input cells written out (ENAS micro)."""

from typing import Any

from raynas.models.source.parts import AVG_POOL, HALVE, MAX_POOL, PROJECT, SEP_CONV, Shape, halved, stem_lines
from raynas.models.source.text import Source, call, class_text, side
from raynas.space.micro_cell import INPUTS, Pairs, loose_ends, parse_pairs, reducing, show_pairs

FIT = '''\
def fit(entering, leaving, halve=False):
    """What makes an input fit a cell: nothing, a 1x1 convolution, or a halving."""
    if halve:
        return nn.Sequential(nn.ReLU(), Halve(entering, leaving))
    return nn.Identity() if entering == leaving else Project(entering, leaving)'''

KERNELS = {"sep_conv_3x3": 3, "sep_conv_5x5": 5}
POOLS = {"avg_pool_3x3": "avg_pool", "max_pool_3x3": "max_pool"}
OPERATIONS = (*KERNELS, *POOLS, "skip_connect")
"""What can be written out."""


def _layers(pairs: Pairs, stride: int) -> dict[str, tuple[str, str]]:
    """The layers of the nodes: by name what makes them and where the built cell has them."""
    found = {}
    for node, pair in enumerate(pairs):
        for which, (name, source) in enumerate(pair):
            strides = stride if source < INPUTS else 1
            key, there = f"node{node + INPUTS}{'ab'[which]}", f"nodes.{node}.{which}"
            if name in KERNELS:
                options = ", stride=2" * (strides == 2)
                found[key] = (f"SepConv(channels, {KERNELS[name]}{options})", there)
            elif name == "skip_connect" and strides == 2:
                found[key] = ("Halve(channels, channels)", there)
    for node in loose_ends(pairs):
        if node < INPUTS and stride == 2:
            found[f"halve{node}"] = ("Halve(channels, channels)", f"shrink.{node}")
    return found


def _term(node: int, which: int, edge: tuple[str, int], stride: int, layers: dict[str, tuple[str, str]]) -> str:
    (name, source), key = edge, f"node{node}{'ab'[which]}"
    if key in layers:
        return f"self.{key}(node{source})"
    if name in POOLS:
        return f"{POOLS[name]}(node{source}{', 2' if stride == 2 and source < INPUTS else ''})"
    return f"node{source}"


def _cell(name: str, pairs: Pairs, stride: int, shared: bool) -> tuple[str, dict[str, str]]:
    """The class of a cell, and for its layers the built cell's names."""
    made, loose = _layers(pairs, stride), loose_ends(pairs)
    second = "fit(last, channels)"
    if not shared:
        second = f"nn.Sequential({second}, Project(channels, channels))"
    layers = ["self.fit0 = fit(older, channels, halve_older)", f"self.fit1 = {second}"]
    layers += [f"self.{key} = {text}" for key, (text, _) in made.items()]
    steps = ["node0, node1 = self.fit0(older), self.fit1(last)"]
    for node, pair in enumerate(pairs, start=INPUTS):
        steps.append(f"node{node} = " + " + ".join(_term(node, n, edge, stride, made) for n, edge in enumerate(pair)))
    ends = [f"self.halve{node}(node{node})" if f"halve{node}" in made else f"node{node}" for node in loose]
    if shared:
        layers.append(f"self.project = Project({len(loose)} * channels, channels)")
    if len(ends) == 1:
        steps.append(f"return self.project({ends[0]})" if shared else f"return {ends[0]}")
    elif shared:
        steps += [*call("made = torch.cat([", ends, "], dim=1)", 8), "return self.project(made)"]
    else:
        steps += call("return torch.cat([", ends, "], dim=1)", 8)
    about = ["Every node is the sum of two operations; nodes 0 and 1 are the inputs:", ""]
    about += [f"node {node}: {text}" for node, text in enumerate(show_pairs(pairs).split("+"), start=INPUTS)]
    text = class_text(name, about, "self, older, last, channels, halve_older=False", layers, "self, older, last", steps)
    names = {"fit0": "inputs.0", "fit1": "inputs.1.0" if shared else "inputs.1"}
    names |= {key: there for key, (_, there) in made.items()} | ({"project": "project"} if shared else {})
    return text, names


def enas_micro_source(config: dict[str, Any], input_shape: Shape, classes: int) -> Source:
    """A line a cell. Drop-path and the auxiliary head are of training only and are left out."""
    shared, stride = config.get("form", "final") == "shared", config.get("stem_stride", 1)
    count, channels = config.get("layers", 15), config.get("channels", 36)
    places = reducing(count, config.get("reductions", 2))
    kinds = {False: parse_pairs(config["normal"]), True: parse_pairs(config["reduction"])}
    texts, inner = {}, {}
    for reduces, name in ((False, "NormalCell"), (True, "ReductionCell")):
        texts[reduces], inner[reduces] = _cell(name, kinds[reduces], 2 if reduces and not shared else 1, shared)
    sides = input_shape[1:] if stride == 1 else halved(input_shape[1:])
    wide = {"older": 3 * channels, "last": 3 * channels}
    behind = False  # whether the older input is twice as large as the last
    layers = stem_lines(input_shape[0], 3 * channels, stride)
    steps = [f"older = last = self.stem(x){side((3 * channels, *sides))}"]
    names, used = {"stem": "stem"}, set()
    for number in range(count + 2):
        reduces = number in places
        used.add(reduces)
        if reduces:
            channels *= 2
            sides = halved(sides)
        if reduces and shared:
            layers.append(f"self.halve{number + 1} = Halve({wide['last']}, {channels})")
            steps.append(f"older, last = last, self.halve{number + 1}(last){side((channels, *sides))}")
            names[f"halve{number + 1}"] = f"smaller.{number}"
            wide, behind = {"older": wide["last"], "last": channels}, True
        sizes = [f"older={wide['older']}", f"last={wide['last']}", f"channels={channels}"]
        sizes += ["halve_older=True"] if behind else []
        kind = "ReductionCell" if reduces else "NormalCell"
        layers += call(f"self.cell{number + 1} = {kind}(", sizes, ")", 8)
        leaving = channels if shared else len(loose_ends(kinds[reduces])) * channels
        steps.append(f"older, last = last, self.cell{number + 1}(older, last){side((leaving, *sides))}")
        names |= {f"cell{number + 1}.{name}": f"cells.{number}.{there}" for name, there in inner[reduces].items()}
        wide, behind = {"older": wide["last"], "last": leaving}, reduces and not shared
    layers += [f"self.dropout = nn.Dropout({config['dropout']})"] if config.get("dropout", 0) > 0 else []
    layers.append(f"self.logits = nn.Linear({wide['last']}, {classes}, bias=False)")
    pooled = "F.relu(last).mean(dim=(2, 3))"
    steps.append(f"x = {'self.dropout(' + pooled + ')' if config.get('dropout', 0) > 0 else pooled}")
    steps.append("return self.logits(x)")
    cells = "\n".join(texts[reduces] for reduces in sorted(used))
    blocks = [PROJECT, HALVE, FIT]
    blocks += [
        text
        for word, text in (("SepConv(", SEP_CONV), ("avg_pool(", AVG_POOL), ("max_pool(", MAX_POOL))
        if word in cells
    ]
    return Source(
        (f"{count + 2} cells, of which {len(places)} halve the sides (ENAS's micro search).", *_left_out(config)),
        tuple(layers),
        tuple(steps),
        names | {"logits": "head"},
        (*blocks, *(texts[reduces] for reduces in sorted(used))),
    )


def _left_out(config: dict[str, Any]) -> list[str]:
    parts = {"drop_path": "drop-path", "auxiliary": "the auxiliary head"}
    there = [text for name, text in parts.items() if config.get(name, 0) > 0]
    return [f"What only its training used is left out: {' and '.join(there)}."] if there else []
