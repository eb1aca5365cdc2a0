"""Where time went: trials on nodes and slots, and rungs."""

import heapq
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from raynas.results.plots import style
from raynas.results.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, STATES, VERMILION, Metrics
from raynas.tables import InputError

BARS = 1500  # trials from which on they are lines of the graphics card
LABELS = 60  # trials with their numbers in their bars


def lanes(frame: pd.DataFrame) -> pd.DataFrame:
    """The trials that were placed: `start_s` and `end_s` since the first, and the `lane` of their node that each took, from
    1 on. A trial under way has lasted as long as it has trained."""
    placed = frame[frame["started"].notna()].copy()
    first = placed["started"].min()
    placed["start_s"] = (placed["started"] - first).dt.total_seconds()
    ends = (placed["ended"] - first).dt.total_seconds()
    placed["end_s"] = ends.where(ends.notna(), placed["start_s"] + placed["seconds"].astype(float))
    placed["node"] = (
        placed["node"].astype(object).where(placed["node"].notna() & (placed["node"] != ""), "unknown node")
    )
    placed = placed.sort_values(["node", "start_s", "number"])
    taken: list[int] = []
    for _, trials in placed.groupby("node", sort=True):
        busy: list[tuple[float, int]] = []  # (free from, lane)
        free: list[int] = []
        for start, end in zip(trials["start_s"], trials["end_s"], strict=True):
            while busy and busy[0][0] <= start + 1e-3:
                heapq.heappush(free, heapq.heappop(busy)[1])
            lane = heapq.heappop(free) if free else len(busy) + 1
            heapq.heappush(busy, (end, lane))
            taken.append(lane)
    return placed.assign(lane=taken)


def utilisation(placed: pd.DataFrame) -> float:
    """The share of the time of all lanes, from the first start to the last end, in which a trial was on them."""
    wide = placed["end_s"].max() - placed["start_s"].min()
    slots = int(placed.groupby("node")["lane"].max().sum())
    busy = float((placed["end_s"] - placed["start_s"]).sum())
    return min(busy / (wide * slots), 1.0) if wide > 0 else 1.0


def timeline(results: Any, metrics: Metrics) -> Any:
    """Which trial was where when, a lane for each that ran at once on a node."""
    placed = lanes(results.trials)
    if placed.empty:
        raise InputError(f"'{results.name}' has no trial that was placed yet")
    scale, unit = style.time_unit(float(placed["end_s"].max()))
    nodes = {node: int(part["lane"].max()) for node, part in placed.groupby("node")}
    labels = [_lane(node, lane) for node, most in nodes.items() for lane in range(1, most + 1)]
    count = len(labels)
    said = [f"{count} lane{'s' * (count > 1)} on {len(nodes)} node{'s' * (len(nodes) > 1)}, {utilisation(placed):.0%} busy",
            _share(placed), "a lane is a trial that ran beside others; pauses count as idle"]  # fmt: skip
    fig = style.figure(
        f"{results.name}: trials on nodes", f"time since the first trial ({unit})", subtitle=style.sentence(said)
    )
    for state, (colour, _) in STATES.items():
        part = placed[placed["state"] == state]
        if len(part):
            where = [_lane(node, lane) for node, lane in zip(part["node"], part["lane"], strict=True)]
            _bars(fig, part, where, state, colour, scale, len(placed), results.parameters)
    fig.update_yaxes(
        categoryorder="array", categoryarray=labels[::-1], automargin=True, type="category",
        showticklabels=count <= 24, title=None if count <= 24 else f"{count} lanes",
    )  # fmt: skip
    fig.update_layout(barmode="overlay", bargap=0.25, uniformtext={"minsize": 9, "mode": "hide"})
    return fig


def _lane(node: Any, lane: int) -> str:
    return f"{style.shorter(str(node), 18)} {lane}"


def _share(placed: pd.DataFrame) -> str:
    """What a trial was given, where all were given the same."""
    parts = []
    for name in ("cpu", "gpu"):
        given: list[float] = list(placed[name].dropna().unique()) if name in placed else []
        if len(given) == 1 and given[0] > 0:
            parts.append(f"{given[0]:g} {name.upper()}")
    return f"{' and '.join(parts)} a trial" if parts else ""


def _bars(
    fig: Any,
    part: pd.DataFrame,
    where: list[str],
    name: str,
    colour: str,
    scale: float,
    total: int,
    parameters: list[str],
) -> None:
    start, end = part["start_s"] / scale, part["end_s"] / scale
    if total <= BARS:
        fig.add_bar(
            base=start, x=end - start, y=where, orientation="h", name=name,
            marker={"color": colour, "line": {"color": "white", "width": 1}}, hovertext=style.hover(part, parameters), hoverinfo="text",
            text=part["number"] if total <= LABELS else None, textposition="inside", insidetextanchor="middle", textangle=0,
        )  # fmt: skip
        return
    gaps = [None] * len(part)
    x = [value for row in zip(start, end, gaps, strict=True) for value in row]
    y = [value for lane in where for value in (lane, lane, None)]
    fig.add_trace(go.Scattergl(x=x, y=y, mode="lines", name=name, line={"color": colour, "width": 6}, hoverinfo="skip"))


def rungs(results: Any, metrics: Metrics) -> Any:
    """At each rung: how many trials came, and what became of them; below, the best and the median fitness."""
    frame = results.rungs()
    if frame.empty:
        raise InputError(f"'{results.name}' has no report yet")
    names = frame["epoch"].astype(str)
    fig = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.55, 0.45])
    fig.update_layout(
        style.layout(f"{results.name}: rungs", subtitle=f"{int(frame['stopped'].sum()):,} trials stopped early")
    )
    went_on = (frame["reached"] - frame["stopped"] - frame["done"]).clip(lower=0)
    for name, values, colour in (("went on or under way", went_on, BLUE), ("done", frame["done"], GREEN),
                                 ("stopped", frame["stopped"], GREY), ("failed before", frame["failed"], VERMILION)):  # fmt: skip
        if values.sum() > 0:
            fig.add_trace(go.Bar(x=names, y=values, name=name, marker={"color": colour}), row=1, col=1)
    for name, colour, dash in (("best", ORANGE, "solid"), ("median", BLACK, "dash")):
        fig.add_trace(
            go.Scatter(x=names, y=frame[name], name=name, mode="lines+markers", line={"color": colour, "dash": dash, "width": 2}),
            row=2, col=1,
        )  # fmt: skip
    fig.update_layout(barmode="stack", legend={"traceorder": "normal"}, bargap=0.7 if len(frame) == 1 else 0.2)
    fig.update_yaxes(
        title_text="trials", **style.count_axis(int((frame["reached"] + frame["failed"]).max())), row=1, col=1
    )
    both = pd.concat([frame["best"], frame["median"]])
    fig.update_yaxes(title_text=style.fitness_name(results), range=style.around(both), row=2, col=1)
    fig.update_xaxes(type="category", title_text="epoch of the rung", row=2, col=1)
    return fig
