"""How every picture looks: colours that colour-blind people can tell apart, titles, hovers, honest thinning."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

BLUE, SKY, GREEN, ORANGE = "#0072b2", "#56b4e9", "#009e73", "#e69f00"  # Okabe & Ito, 2008
VERMILION, PURPLE, BLACK, GREY = "#d55e00", "#cc79a7", "#222222", "#9a9a9a"
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
STATES = {
    "done": (BLUE, "circle"),
    "stopped": (GREY, "circle"),
    "failed": (VERMILION, "x"),
    "running": (GREEN, "diamond"),
}
MANY = 2000  # points from which on the graphics card draws them
LEVELS = 40.0  # a picture reaches at most this many times the distance between the best and the median below the best


def figure(title: str, x: str = "", y: str = "", subtitle: str = "") -> Any:
    """An empty figure; the subtitle says what is not to be seen in it."""
    return go.Figure(layout=layout(title, x, y, subtitle))


def layout(title: str, x: str = "", y: str = "", subtitle: str = "") -> dict[str, Any]:
    return {
        "title": {"text": shorter(title, 80), "subtitle": {"text": subtitle, "font": {"size": 12, "color": "#555"}}, "x": 0.02, "xanchor": "left", "y": 1, "yanchor": "top", "pad": {"t": 14}},
        **({"xaxis_title": x} if x else {}),
        **({"yaxis_title": y} if y else {}),
        "template": "plotly_white",
        "font": {"size": 13},
        "margin": {"l": 70, "r": 24, "t": 84 if subtitle else 64, "b": 56},
        "hoverlabel": {"align": "left", "font": {"size": 12}},
        "colorway": SERIES,
    }  # fmt: skip


def shorter(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def fitness_name(results: Any) -> str:
    """`fitness` and what it is, for an axis; of several goals it is the first."""
    said = results.experiment["spec"].get("objective") or {}
    name, mode = said.get("fitness"), said.get("mode")
    if name == "metric":
        name = said.get("metric")
    elif said.get("metrics"):
        name, mode = next(iter(said["metrics"].items()))
    return "fitness" if name is None else f"fitness ({'−' if mode == 'min' else ''}{name})"


def judged(frame: pd.DataFrame) -> pd.DataFrame:
    """The trials that have a fitness of their own."""
    return frame[frame["fitness"].notna() & frame["duplicate_of"].isna()]


def hover(frame: pd.DataFrame, parameters: list[str]) -> list[str]:
    """What is said of each trial under the pointer."""
    shown = [name for name in (*parameters, "params") if name in frame]
    columns = [frame[name].tolist() for name in ("number", "state", "epochs", "fitness", *shown)]
    texts = []
    for number, state, epochs, fitness, *values in zip(*columns, strict=True):
        first = f"trial {number}, {state}" + ("" if pd.isna(epochs) else f" after {epochs} epochs")
        rest = [f"{name}: {_short(value)}" for name, value in zip(shown, values, strict=True) if not pd.isna(value)]
        texts.append("<br>".join([first, f"fitness: {fitness:.4f}", *rest]))
    return texts


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    return "<br>  ".join(text[start : start + 70] for start in range(0, len(text), 70))


def scatter(points: int) -> Any:
    """The trace for so many points."""
    return go.Scattergl if points > MANY else go.Scatter


def dots(fig: Any, frame: pd.DataFrame, x: Any, parameters: list[str], y: str = "fitness", **where: int) -> None:
    """Every trial as a dot, by how it ended; `x` is a column or values by the frame's index, `where` a row and column."""
    for state, (colour, symbol) in STATES.items():
        part = frame[frame["state"] == state]
        if len(part):
            fig.add_trace(
                scatter(len(frame))(
                    x=part[x] if isinstance(x, str) else x[part.index], y=part[y], mode="markers", name=state,
                    marker={"color": colour, "symbol": symbol, "opacity": 0.55 if len(frame) < MANY else 0.3, "size": 7 if len(frame) < MANY else 4},
                    hovertext=hover(part, parameters), hoverinfo="text", legendgroup=state,
                    showlegend=where.get("col", 1) == 1,
                ),
                **where,
            )  # fmt: skip


def window(values: pd.Series) -> tuple[list[float] | None, int]:
    """The range of a fitness axis and how many values lie below it: a diverged trial must not flatten all others."""
    finite = values[np.isfinite(values.astype(float))]
    if len(finite) < 5:
        return None, 0
    best, middle, least = float(finite.max()), float(finite.median()), float(finite.min())
    low = best - LEVELS * max(best - middle, 1e-12)
    if least >= low or best == middle:
        return None, 0
    low = best - 4 * (best - middle)
    return [low, best + 0.1 * (best - low)], int((finite < low).sum())


def around(values: pd.Series) -> list[float] | None:
    """The range of an axis on which all values are the same, near them; None where they differ, or there are none."""
    finite = values[np.isfinite(values.astype(float))].astype(float)
    if finite.empty or finite.max() > finite.min():
        return None
    value = float(finite.iloc[0])
    room = max(0.05 * abs(value), 1e-3)
    return [value - room, value + room]


def whole_axis(values: pd.Series) -> dict[str, Any]:
    """An axis of epochs or generations: ticks at whole numbers, and nothing but the one where there is one."""
    low, high = int(values.min()), int(values.max())
    ticks = {"tick0": 0, "dtick": 1} if high - low <= 20 else {}
    return {**ticks, **({"range": [low - 0.5, high + 0.5]} if low == high else {})}


def count_axis(most: int) -> dict[str, Any]:
    """An axis of counts from 0 on: of few there are no halves."""
    return {"rangemode": "tozero", **({"tick0": 0, "dtick": 1} if most <= 10 else {})}


def time_unit(seconds: float) -> tuple[float, str]:
    """Seconds in the unit of an axis of this length, and its name."""
    return (1.0, "s") if seconds < 300 else (60.0, "min") if seconds < 3 * 3600 else (3600.0, "h")


def thinned(frame: pd.DataFrame, most: int) -> tuple[pd.DataFrame, str]:
    """At most `most` trials: the best fifth of that number, and of the others every so many; with what was done."""
    if len(frame) <= most:
        return frame, ""
    top = frame.sort_values("fitness", ascending=False, na_position="last").head(most // 5)
    others = frame.drop(top.index)
    step = -(-len(others) // (most - len(top)))
    kept = pd.concat([top, others.iloc[::step]]).sort_values("number")
    return kept, f"{len(kept):,} of {len(frame):,} trials drawn: the best {len(top):,} and 1 in {step} of the others"


def sentence(parts: list[str]) -> str:
    return "; ".join(part for part in parts if part)


Metrics = Mapping[str, str] | None
