"""Graphs: dense cells, cells of two inputs, and macro networks with their skips."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from raynas.results.drawing.chains import Block, chain
from raynas.results.drawing.sheet import FAINT, INK, KINDS, Point, Sheet, kind_of, spoken, text_width
from raynas.space.cell import ZERO, parse
from raynas.space.macro import parse_layers, places_of
from raynas.space.micro_cell import INPUTS, Pairs, loose_ends, parse_pairs, reducing

RADIUS = 17.0


# -- dense cells -----------------------------------------------------------------------------------------------------


def draw_cell(sheet: Sheet, config: Mapping[str, Any]) -> None:
    """The cell as a graph, and below it the network that it is stacked to."""
    nodes = parse(config["architecture"])
    edges = [(source, node, name) for node, names in enumerate(nodes, start=1) for source, name in enumerate(names)]
    wide = max((text_width(spoken(name), 12) + 16 for _, _, name in edges if name != ZERO), default=40.0)
    step = max(wide + 2 * RADIUS + 36, 630 / len(nodes))
    span_up, span_down = _sides([(source, node) for source, node, name in edges if name != ZERO])
    middle = _height(span_up) + RADIUS
    for source, node, name in edges:
        below = (source, node) in span_down
        reach = _height({(source, node)}) * (-1 if below else 1)
        sheet.reach(0, middle - reach)
        tops = ((RADIUS + source * step, middle), (RADIUS + node * step, middle))
        if name == ZERO:
            sheet.path(_arc(*tops, reach), FAINT, 1, "2 5", 0.6)
        else:
            _edge(sheet, *tops, reach, name)
    for node in range(len(nodes) + 1):
        sheet.box((RADIUS + node * step, middle), (2 * RADIUS, 2 * RADIUS), "sum", [str(node)], round_=RADIUS)
    if any(name == ZERO for _, _, name in edges):
        sheet.text(0, sheet.bottom + 14, "dotted: none, brings nothing", 11, FAINT, "start")
    channels, cells = config.get("channels", 16), config.get("cells", 5)
    blocks = [Block("convolution", ["conv 3×3", f"{channels} filters"])]
    for stage in range(3):
        if stage:
            blocks.append(Block("reduction", ["residual", f"{channels * 2**stage} filters", "stride 2"], stage))
        blocks.append(Block("cell", [f"{cells} × cell", f"{channels * 2**stage} filters"], stage))
    blocks.append(Block("ends", ["classes", "of the", "average"], 2))
    chain(sheet, blocks, sheet.bottom + 26)


def _height(spans: Iterable[tuple[int, int]]) -> float:
    """How far the highest of these arcs goes from the line of nodes; neighbours are joined straight."""
    longest = max((node - source for source, node in spans), default=1)
    return 0.0 if longest == 1 else 16 + 34.0 * (longest - 1)


def _sides(spans: Sequence[tuple[int, int]]) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """The arcs above and below the line of nodes: each, short ones first, where it crosses fewer."""
    above: set[tuple[int, int]] = set()
    below: set[tuple[int, int]] = set()
    for one in sorted(spans, key=lambda span: (span[1] - span[0], span)):
        if one[1] - one[0] > 1:
            crossed = [sum(_cross(one, other) for other in side) for side in (above, below)]
            (above if crossed[0] <= crossed[1] else below).add(one)
    return above, below


def _cross(one: tuple[int, int], other: tuple[int, int]) -> bool:
    first, second = sorted((one, other))
    return first[0] < second[0] < first[1] < second[1]


def _arc(start: Point, end: Point, reach: float) -> str:
    """A curve from node to node that is `reach` above their line at its middle."""
    (x0, y), (x1, _) = start, end
    return f"M{x0:.1f} {y:.1f}C{x0 + 0.18 * (x1 - x0):.1f} {y - reach * 4 / 3:.1f} {x1 - 0.18 * (x1 - x0):.1f} {y - reach * 4 / 3:.1f} {x1:.1f} {y:.1f}"


def _edge(sheet: Sheet, start: Point, end: Point, reach: float, name: str) -> None:
    colour = KINDS[kind_of(name)].edge
    (x0, y), (x1, _) = start, end
    if reach == 0:
        sheet.arrow([(x0, y), (x1 - RADIUS, y)], colour)
    else:
        sheet.path(_arc(start, end, reach), colour)
        dx, dy = 0.18 * (x1 - x0), reach * 4 / 3  # the curve comes in along its last control point
        length = (dx * dx + dy * dy) ** 0.5
        sheet.head((x1 - dx / length * RADIUS, y - dy / length * RADIUS), (dx, dy), colour)
    label = spoken(name)
    sheet.box(
        ((x0 + x1) / 2, y - reach), (text_width(label, 12) + 12, 22), kind_of(name), [label], round_=11, bold=False
    )


# -- cells of two inputs -----------------------------------------------------------------------------------------------


def draw_micro(sheet: Sheet, config: Mapping[str, Any]) -> None:
    """Both cells side by side, and below them the network that they are stacked to."""
    left = 0.0
    for name in ("normal", "reduction"):
        left = _two_input_cell(sheet, name, parse_pairs(config[name]), left) + 36
    layers, channels = int(config.get("layers", 15)), int(config.get("channels", 36))
    places = reducing(layers, int(config.get("reductions", 2)))
    blocks, halvings = [Block("convolution", ["conv 3×3", f"{3 * channels} filters"])], 0
    for reduces, run in groupby(number in places for number in range(layers + 2)):
        count = len(list(run))
        halvings += count * reduces
        what = ["reduction"] if reduces else [f"{count} ×", "normal"]
        if reduces and count > 1:
            what = [f"{count} ×", *what]
        blocks.append(Block("reduction" if reduces else "cell", [*what, f"{channels * 2**halvings} filters"], halvings))
    blocks.append(Block("ends", ["classes", "of the", "average"], halvings))
    chain(sheet, blocks, sheet.bottom + 30)


LANE, PILL, HIGH = 9.0, 92.0, 76.0
WIRE = "#4b5563"


def _two_input_cell(sheet: Sheet, name: str, pairs: Pairs, left: float) -> float:
    """One cell from `left` on, top to bottom; returns its right end.

    A node is a circle below its two operations. What a node makes runs in a lane of its own, left or right of the nodes,
    down to the operations that read it; loose ends run to the concatenation.
    """
    loose, last = loose_ends(pairs), INPUTS + len(pairs) - 1
    heights = [16.0, 58.0, *(58 + HIGH * (number + 1) for number in range(len(pairs)))]
    foot = heights[-1] + 44 + 2.5 * len(loose)
    wires: dict[tuple[int, int], list[tuple[float, float]]] = {}  # by (side, source): (height, how far from the middle)
    for node, pair in enumerate(pairs, start=INPUTS):
        for side, (_, source) in enumerate(pair):
            wires.setdefault((side, source), []).append((heights[node] - 38, PILL + 8))
    ends = [node for node in loose if node != last]
    for number, node in enumerate(ends):
        wires.setdefault((number % 2, node), []).append((foot - 5 * (number // 2) + 2.5 * ((len(ends) - 1) // 2), 64.0))
    lanes = [
        _lanes({source: (heights[source], max(wire)[0]) for (at, source), wire in wires.items() if at == side})
        for side in (0, 1)
    ]
    room = [LANE * (max(lane.values(), default=0) + 1) + 12 for lane in lanes]
    middle = left + room[0] + PILL + 8
    for (side, source), wire in sorted(wires.items()):
        sign = (-1, 1)[side]
        x = middle + sign * (PILL + 8 + 10 + LANE * lanes[side][source])
        lowest = max(wire)[0]
        start = middle + sign * (70.0 if source < INPUTS else RADIUS)
        for height, reach in sorted(wire):
            end = (middle + sign * reach, height)
            if height == lowest:
                sheet.arrow([(start, heights[source]), (x, heights[source]), (x, height), end], WIRE)
            else:
                sheet.arrow([(x, height), end], WIRE)
                sheet.dot(x, height, WIRE)
    for number, said in enumerate(("0: cell before last", "1: last cell")):
        sheet.box((middle, heights[number]), (140, 26), "ends", [said], bold=False)
    for node, pair in enumerate(pairs, start=INPUTS):
        for sign, (operation, _) in zip((-1, 1), pair, strict=True):
            x, y = middle + sign * (PILL / 2 + 8), heights[node] - 38
            sheet.path(f"M{x:.1f} {y:.1f}L{middle:.1f} {heights[node]:.1f}")
            sheet.box((x, y), (PILL, 24), kind_of(operation), [spoken(operation)], bold=False)
        sheet.box((middle, heights[node]), (2 * RADIUS, 28), "sum", [f"{node}"], round_=14)
    sheet.arrow([(middle, heights[last] + 14), (middle, foot - 14)])
    sheet.box((middle, foot), (128, max(24.0, 5.0 * ((len(ends) + 1) // 2) + 14)), "join", ["concatenation"])
    sheet.text(middle, -16, f"{name} cell", 13, INK, bold=True)
    right = middle + PILL + 8 + room[1]
    sheet.reach(right, 0)
    return right


def _lanes(spans: Mapping[int, tuple[float, float]]) -> dict[int, int]:
    """A lane a source, counted from the nodes outwards; two that run past each other are in different ones."""
    taken: list[list[tuple[float, float]]] = []
    found = {}
    for source, (start, end) in sorted(spans.items(), key=lambda item: (item[1][1] - item[1][0], item[0])):
        lane = next(
            (place for place, others in enumerate(taken) if all(end + 4 < a or b + 4 < start for a, b in others)),
            len(taken),
        )
        if lane == len(taken):
            taken.append([])
        taken[lane].append((start, end))
        found[source] = lane
    return found


# -- macro networks ----------------------------------------------------------------------------------------------------


def draw_macro(sheet: Sheet, config: Mapping[str, Any]) -> None:
    """Layers from left to right; arcs above them are the skips, in the colour of the layer that they come from."""
    layers = parse_layers(config["architecture"])
    places, step, width = places_of(len(layers)), 50.0, 41.0
    skips = [(source, layer) for layer, (_, sources) in enumerate(layers, start=1) for source in sources]
    longest = max((layer - source for source, layer in skips), default=0)
    middle = 30 + _rise(longest, step)
    channels, halvings = int(config.get("channels", 36)), 0
    sheet.box((width / 2, middle + 30), (width, 84), "convolution", ["conv", "3×3", str(channels)])
    for number, (name, _) in enumerate(layers, start=1):
        x, height = width / 2 + number * step, 60 + 24 * 0.5**halvings
        sheet.box((x, middle + 30), (width, height), kind_of(name), spoken(name).split(" "))
        sheet.text(x, middle + 84, str(number), 11, FAINT)
        sheet.arrow([(x - step + width / 2, middle + 30), (x - width / 2, middle + 30)])
        if number in places:
            halvings += 1
            sheet.text(x + step / 2, middle + 84, "½", 13, KINDS["reduction"].edge, bold=True)
            sheet.path(f"M{x + step / 2:.1f} {middle - 14:.1f}V{middle + 76:.1f}", KINDS["reduction"].edge, 1.6, "4 3")
    end = width / 2 + (len(layers) + 1) * step
    sheet.arrow([(end - step + width / 2, middle + 30), (end - width / 2, middle + 30)])
    sheet.box((end, middle + 30), (width, 60 + 24 * 0.5**halvings), "ends", ["mean,", "then", "class"], bold=False)
    for source, layer in skips:
        colour = KINDS[kind_of(layers[source - 1][0])].edge
        x0, x1 = width / 2 + source * step + 6, width / 2 + layer * step - 6
        y, reach = middle - 14, _rise(layer - source, step)
        sheet.path(
            f"M{x0:.1f} {y:.1f}C{x0 + 4:.1f} {y - reach * 4 / 3:.1f} {x1 - 4:.1f} {y - reach * 4 / 3:.1f} {x1:.1f} {y:.1f}",
            colour,
            1.3,
            opacity=0.75,
        )
        sheet.head((x1, y), (4, reach), WIRE)
    said = f"{len(skips)} skips" + (", ½: the side is halved" if places else "")
    sheet.text(0, middle + 106, said, 11, FAINT, "start")


def _rise(span: int, step: float) -> float:
    """How high an arc over `span` layers goes."""
    return 8 + 0.38 * step * span if span else 0.0
