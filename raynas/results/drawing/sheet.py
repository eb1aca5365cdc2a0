"""A sheet of SVG: boxes, labels and arrows; what was drawn decides its size and its legend."""

import re
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

Point = tuple[float, float]
INK, FAINT, PAPER = "#1f2328", "#6b7280", "#ffffff"
MARGIN = 14.0
LINE = 15.0  # px from one line of text to the next
GLYPH, BOLD = 0.58, 0.69  # mean width of a letter of a sans-serif font, in its size; on the wide side


class Kind(NamedTuple):
    """A kind of operation: what the legend calls it, the fill and the edge of its boxes (Okabe & Ito's hues)."""

    name: str
    fill: str
    edge: str


KINDS = {
    "ends": Kind("images, classes", "#f6f7f9", "#6b7280"),
    "convolution": Kind("convolution", "#cfe3f3", "#0072b2"),
    "separable": Kind("separable convolution", "#c9ede2", "#009e73"),
    "average": Kind("average pooling", "#fbe6bd", "#b87700"),
    "maximum": Kind("max pooling", "#f9d5bf", "#d55e00"),
    "skip": Kind("skip", "#e3e5e8", "#6b7280"),
    "reduction": Kind("halves the side", "#f1d9e8", "#a8457f"),
    "dense": Kind("dense", "#f7f3b5", "#8a8000"),
    "dropout": Kind("dropout", "#ffffff", "#6b7280"),
    "cell": Kind("cell", "#dfe1f7", "#4b4fa8"),
    "sum": Kind("sum", "#ffffff", "#1f2328"),
    "join": Kind("concatenation", "#eceef1", "#1f2328"),
    "other": Kind("other operation", "#e8e0f5", "#6f42a8"),
}
WORDS = {"nor": "", "sep": "sep", "avg": "avg", "dil": "dil", "connect": ""}


def kind_of(operation: str) -> str:
    """The kind of an operation, by its name."""
    for start, kind in (
        ("skip", "skip"),
        ("sep", "separable"),
        ("dil", "separable"),
        ("avg", "average"),
        ("max", "maximum"),
    ):
        if operation.startswith(start):
            return kind
    return "convolution" if "conv" in operation else "other"


def spoken(operation: str) -> str:
    """`nor_conv_3x3` as a person reads it: conv 3×3."""
    words = [WORDS.get(word, word) for word in operation.split("_")]
    return re.sub(r"(\d)x(\d)", r"\1×\2", " ".join(word for word in words if word)) or operation


def fitting(text: str, width: float, bold: bool) -> tuple[str, float]:
    """`text` and its size for `width` px: 12, down to 9 for a long one, which is then cut with an ellipsis."""
    glyph = BOLD if bold else GLYPH
    size = min(12.0, max(9.0, width / (glyph * max(len(text), 1))))
    room = max(int(width / (glyph * size) + 0.01), 1)
    return (text if len(text) <= room else text[: room - 1] + "…"), size


def text_width(text: str, size: float, bold: bool = False) -> float:
    return (BOLD if bold else GLYPH) * size * len(text)


class Sheet:
    """What is drawn, lowest first: lines, then boxes with their labels."""

    def __init__(self, title: str):
        self.title = title
        self.lines: list[str] = []
        self.boxes: list[str] = []
        self.kinds: set[str] = set()
        self.right = self.bottom = self.top = 0.0

    def reach(self, x: float, y: float) -> None:
        """The sheet goes at least this far."""
        self.right, self.bottom, self.top = max(self.right, x), max(self.bottom, y), min(self.top, y)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 12,
        colour: str = INK,
        anchor: str = "middle",
        bold: bool = False,
    ) -> None:
        """A line of text whose middle is at height `y`."""
        wide = text_width(text, size, bold)
        self.reach(x + wide * {"start": 1.0, "middle": 0.5}[anchor], y + size)
        self.reach(x, y - size)
        weight = ' font-weight="600"' if bold else ""
        self.boxes.append(
            f'<text x="{x:.1f}" y="{y + size * 0.35:.1f}" font-size="{size:.3g}" text-anchor="{anchor}" fill="{colour}"{weight}>'
            f"{escape(text)}</text>"
        )

    def box(
        self,
        middle: Point,
        size: Point,
        kind: str,
        labels: Sequence[str],
        round_: float = 5,
        share: float | None = None,
        bold: bool = True,
    ) -> None:
        """A box of a kind around `middle`, its labels in its middle, the first one `bold`; `share` in [0, 1] is a bar along
        its foot."""
        (x, y), (width, height), look = middle, size, KINDS[kind]
        self.kinds.add(kind)
        self.reach(x + width / 2, y + height / 2)
        self.reach(x, y - height / 2)
        self.boxes.append(
            f'<rect class="box" x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'rx="{round_:g}" fill="{look.fill}" stroke="{look.edge}" stroke-width="1.4"/>'
        )
        if share is not None:
            self.boxes.append(
                f'<rect x="{x - width / 2 + 5:.1f}" y="{y + height / 2 - 7:.1f}" width="{max(share * (width - 10), 1):.1f}" '
                f'height="3" rx="1.5" fill="{look.edge}"/>'
            )
        first = y - (len(labels) - 1) * LINE / 2 - (0 if share is None else 3)
        for index, label in enumerate(labels):
            strong = bold and index == 0
            fitted, pixels = fitting(label, width - 2, strong)
            self.text(x, first + index * LINE, fitted, pixels, bold=strong)

    def path(
        self, commands: str, colour: str = INK, width: float = 1.4, dashes: str = "", opacity: float = 1.0
    ) -> None:
        more = (f' stroke-dasharray="{dashes}"' if dashes else "") + (f' opacity="{opacity:g}"' if opacity < 1 else "")
        self.lines.append(f'<path d="{commands}" fill="none" stroke="{colour}" stroke-width="{width:g}"{more}/>')

    def arrow(self, points: Sequence[Point], colour: str = INK, opacity: float = 1.0) -> None:
        """A line through points, its corners rounded, with a head at its end."""
        self.path(_rounded(points), colour, opacity=opacity)
        (x0, y0), (x1, y1) = points[-2:]
        self.head((x1, y1), (x1 - x0, y1 - y0), colour, opacity)

    def head(self, tip: Point, along: Point, colour: str = INK, opacity: float = 1.0) -> None:
        """An arrow's head at `tip`, pointing `along`."""
        (x, y), (dx, dy) = tip, along
        length = (dx * dx + dy * dy) ** 0.5 or 1.0
        dx, dy = dx / length, dy / length
        corners = [
            (x, y),
            (x - 7 * dx - 3.5 * dy, y - 7 * dy + 3.5 * dx),
            (x - 7 * dx + 3.5 * dy, y - 7 * dy - 3.5 * dx),
        ]
        listed = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
        more = f' opacity="{opacity:g}"' if opacity < 1 else ""
        self.lines.append(f'<polygon points="{listed}" fill="{colour}"{more}/>')

    def dot(self, x: float, y: float, colour: str = INK) -> None:
        self.lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{colour}"/>')

    def legend(self, hidden: Sequence[str] = ("ends", "sum", "join", "dropout")) -> None:
        """A row that says which colour is what."""
        x, y, right = 0.0, self.bottom + 22, max(self.right, 300.0)
        for kind in KINDS:
            if kind not in self.kinds or kind in hidden:
                continue
            wide = 18 + text_width(KINDS[kind].name, 11) + 14
            if x > 0 and x + wide - 14 > right:
                x, y = 0.0, y + 18
            self.boxes.append(
                f'<rect x="{x:.1f}" y="{y - 6:.1f}" width="12" height="12" rx="3" fill="{KINDS[kind].fill}" stroke="{KINDS[kind].edge}"/>'
            )
            self.text(x + 18, y, KINDS[kind].name, 11, FAINT, "start")
            x += wide

    def svg(self) -> str:
        """The sheet as one SVG text with a background of its own: it reads the same on a dark page."""
        top = self.top - MARGIN - 24
        width, height = max(self.right, text_width(self.title, 13, True)) + 2 * MARGIN, self.bottom - top + MARGIN
        title = escape(self.title)
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{title}" width="{width:.0f}" height="{height:.0f}" '
                f'viewBox="{-MARGIN:.1f} {top:.1f} {width:.1f} {height:.1f}" style="max-width:100%;height:auto" '
                "font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif\">",
                f"<title>{title}</title>",
                f'<rect x="{-MARGIN:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="8" fill="{PAPER}"/>',
                f'<text x="0" y="{top + MARGIN + 9:.1f}" font-size="13" font-weight="600" fill="{INK}">{title}</text>',
                *self.lines,
                *self.boxes,
                "</svg>",
            ]
        )


def _rounded(points: Sequence[Point], radius: float = 6.0) -> str:
    """The path through points with its right angles rounded."""
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        ends = []
        for other in (before, after):
            dx, dy = other[0] - corner[0], other[1] - corner[1]
            length = (dx * dx + dy * dy) ** 0.5 or 1.0
            cut = min(radius, length / 2)
            ends.append((corner[0] + dx / length * cut, corner[1] + dy / length * cut))
        parts.append(
            f"L{ends[0][0]:.1f} {ends[0][1]:.1f}Q{corner[0]:.1f} {corner[1]:.1f} {ends[1][0]:.1f} {ends[1][1]:.1f}"
        )
    return "".join([*parts, f"L{points[-1][0]:.1f} {points[-1][1]:.1f}"])
