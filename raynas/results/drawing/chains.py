"""Chains of layers: layered genomes, small CNNs, and the plan that cells are stacked in."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from raynas.results.drawing.sheet import Sheet
from raynas.space import genome

WIDTH, GAP, TALLEST, LEAST = 80.0, 18.0, 118.0, 74.0
A_ROW = 7  # boxes: 700 px
DENSE = 64  # units of a genome's dense layer, as raynas/models/genome.py builds it
FILTERS = 32  # of a block of a small CNN, as raynas/models/simple_cnn.py builds it


class Block(NamedTuple):
    """A box of a chain: its kind, its labels, how often the side has been halved after it, and its share of filters."""

    kind: str
    labels: Sequence[str]
    halvings: int = 0
    share: float | None = None


def chain(sheet: Sheet, blocks: Sequence[Block], top: float = 0.0) -> None:
    """The blocks in rows from left to right, joined by arrows; a halved side makes a lower box."""
    heights = [LEAST + (TALLEST - LEAST) * 0.5**block.halvings for block in blocks]
    places, y = [], top
    for start in range(0, len(blocks), A_ROW):
        tall = max(heights[start : start + A_ROW])
        places += [
            (WIDTH / 2 + column * (WIDTH + GAP), y + tall / 2) for column in range(len(blocks[start : start + A_ROW]))
        ]
        y += tall + 2 * GAP
    for block, place, height in zip(blocks, places, heights, strict=True):
        sheet.box(place, (WIDTH, height), block.kind, block.labels, share=block.share)
    for number, ((x0, y0), (x1, y1)) in enumerate(pairwise(places)):
        if x1 > x0:
            sheet.arrow([(x0 + WIDTH / 2, y0), (x1 - WIDTH / 2, y1)])
        else:  # on to the next row, through the gap between the two
            between = y1 - max(heights[number + 1 : number + 1 + A_ROW]) / 2 - GAP
            sheet.arrow(
                [(x0, y0 + heights[number] / 2), (x0, between), (x1, between), (x1, y1 - heights[number + 1] / 2)]
            )


def draw_genome(sheet: Sheet, config: Mapping[str, Any]) -> None:
    *body, end = genome.parse(config["architecture"])
    most, halvings = max(layer.filters for layer in body), 0
    blocks = [Block("ends", ["images"])]
    for layer in body:
        reduces = layer.kind == "RC"
        halvings += reduces
        labels = [f"conv {layer.kernel}×{layer.kernel}", f"{layer.filters} filters", layer.activation]
        blocks.append(
            Block(
                "reduction" if reduces else "convolution",
                labels + ["stride 2"] * reduces,
                halvings,
                layer.filters / most,
            )
        )
    blocks.append(Block("average", ["global", "average"], halvings))
    blocks.append(Block("dense", ["dense", f"{DENSE} units", end.activation], halvings))
    after = [end.activation] if config.get("activated_logits") is True else []
    blocks.append(Block("ends", ["classes", *after], halvings))
    chain(sheet, blocks)


def draw_simple_cnn(sheet: Sheet, config: Mapping[str, Any]) -> None:
    """As many blocks as the config says; a network has fewer where its images are too small."""
    depth, dropout = int(config["conv_layers"]), float(config["dropout"])
    blocks = [Block("ends", ["images"])]
    for halvings in range(depth):
        blocks.append(Block("convolution", ["conv 3×3", f"{FILTERS} filters", "relu"], halvings))
        blocks.append(Block("maximum", ["max pool", "2×2"], halvings + 1))
    if dropout > 0:
        blocks.append(Block("dropout", ["dropout", f"{dropout:g}"], depth))
    blocks.append(Block("dense", ["dense", f"{config['hidden']} units", "relu"], depth))
    blocks.append(Block("ends", ["classes"], depth))
    chain(sheet, blocks)


def draw_parameters(sheet: Sheet, config: Mapping[str, Any]) -> None:
    """Any other network: its parameters, one a line."""
    rows = [(str(name), " ".join(str(value).split())) for name, value in config.items()] or [("no parameters", "")]
    for number, (name, value) in enumerate(rows):
        y = 24 * number + 12.0
        sheet.box((85, y), (170, 24), "cell", [name], round_=0)
        sheet.box((435, y), (530, 24), "ends", [value], round_=0, bold=False)
