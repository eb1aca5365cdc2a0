"""How far the search came: the best so far, learning curves, several experiments side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from raynas.results import views
from raynas.results.plots import style
from raynas.results.plots.style import BLACK, ORANGE, SERIES, STATES, Metrics
from raynas.tables import InputError

LINES = 300  # learning curves in a picture


def so_far(frame: pd.DataFrame) -> pd.DataFrame:
    """The trials that ended with a fitness, in order of their ends: `trials` ended, `after_s` since the first was placed,
    and `best`: of those trained to their end, of all others while there are none."""
    own = style.judged(frame)
    own = own[own["state"].isin(["done", "stopped"])].sort_values(["ended", "number"])
    starts = frame["started"].dropna()
    since = starts.min() if len(starts) else own["ended"].min()
    return own.assign(
        trials=np.arange(1, len(own) + 1),
        after_s=(own["ended"] - since).dt.total_seconds(),
        best=views.best_so_far(own),
    )


def _steps(shown: pd.DataFrame) -> pd.DataFrame:
    """Where the best changes, and the last: what a line of steps needs."""
    changed = shown["best"].ne(shown["best"].shift())
    changed.iloc[-1:] = True
    return shown[changed]


def _need(results: Any, shown: pd.DataFrame) -> None:
    if shown.empty:
        raise InputError(f"'{results.name}' has no trial that ended with a fitness yet")


def best_so_far(results: Any, metrics: Metrics) -> Any:
    """Every trial and the best of them so far, against trials and against time."""
    shown = so_far(results.trials)
    _need(results, shown)
    scale, unit = style.time_unit(float(shown["after_s"].max()))
    fig = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.04)
    reach, hidden = style.window(shown["fitness"])
    top = float(shown["best"].iloc[-1])
    failed = int((results.trials["state"] == "failed").sum())
    said = [f"best {top:.4f}", f"{failed} failed" * (failed > 0), f"{hidden} below the picture" * (hidden > 0)]
    fig.update_layout(style.layout(f"{results.name}: best so far", subtitle=style.sentence(said)))
    for column, x in ((1, shown["trials"]), (2, shown["after_s"] / scale)):
        style.dots(fig, shown, x, results.parameters, row=1, col=column)
        line = _steps(shown)
        fig.add_trace(
            go.Scatter(
                x=x[line.index], y=line["best"], mode="lines", name="best so far", legendgroup="best", showlegend=column == 1,
                line={"color": BLACK, "shape": "hv", "width": 2}, hoverinfo="skip",
            ),
            row=1, col=column,
        )  # fmt: skip
    fig.update_xaxes(title_text="trials ended", row=1, col=1, rangemode="tozero")
    fig.update_xaxes(title_text=f"time since the first trial ({unit})", row=1, col=2, rangemode="tozero")
    fig.update_xaxes(style.count_axis(len(shown)), row=1, col=1)
    fig.update_yaxes(title_text=style.fitness_name(results), row=1, col=1)
    fig.update_yaxes(range=reach or style.around(shown["fitness"]))
    return fig


def curves(results: Any, metrics: Metrics) -> Any:
    """Fitness by epoch of every trial; where a trial was stopped early there is a cross, the best trial stands out."""
    reports = results.curves
    if reports.empty:
        raise InputError(f"'{results.name}' has no report yet")
    trials = results.trials[results.trials["number"].isin(reports["number"].unique())]
    kept, thinning = style.thinned(trials, LINES)
    reach, hidden = style.window(reports["fitness"])
    top = results.best()
    best = None if top.empty else int(top["number"].iloc[0])
    stopped = int((trials["state"] == "stopped").sum())
    said = [
        thinning,
        f"{stopped:,} stopped early (×)" * (stopped > 0),
        f"{hidden:,} reports below the picture" * (hidden > 0),
    ]
    fig = style.figure(f"{results.name}: learning curves", "epoch", style.fitness_name(results), style.sentence(said))
    shown = reports[reports["number"].isin(kept["number"])].sort_values(["number", "epoch"])
    state_of = kept.set_index("number")["state"]
    state = shown["number"].map(state_of)
    fade = max(0.25, min(0.8, 20 / len(kept)))
    for name, (colour, _) in STATES.items():
        part = shown[(state == name) & (shown["number"] != best)]
        if len(part):
            _lines(fig, part, name, {"color": colour, "width": 1.3}, fade)
        if name == "stopped" and len(part):
            ends = part.drop_duplicates("number", keep="last")
            fig.add_scatter(
                x=ends["epoch"], y=ends["fitness"], mode="markers", name="stopped early", text=ends["number"],
                marker={"symbol": "x-thin", "size": 8, "line": {"width": 1.6, "color": "#555"}}, hovertemplate=HOVER,
            )  # fmt: skip
    if best is not None:
        _lines(fig, shown[shown["number"] == best], f"best: trial {best}", {"color": ORANGE, "width": 3.5}, 1.0)
    fig.update_yaxes(range=reach or style.around(reports["fitness"]))
    fig.update_xaxes(style.whole_axis(reports["epoch"]))
    return fig


HOVER = "trial %{text}<br>epoch %{x}<br>fitness %{y:.4f}<extra></extra>"


def _lines(fig: Any, part: pd.DataFrame, name: str, line: dict[str, Any], opacity: float) -> None:
    """One trace for many curves, which a gap parts."""
    gaps = part.drop_duplicates("number", keep="last").assign(epoch=None, fitness=None)
    joined = pd.concat([part.astype({"epoch": object, "fitness": object}), gaps]).sort_values("number", kind="stable")
    fig.add_trace(
        style.scatter(len(joined))(
            x=joined["epoch"], y=joined["fitness"], text=joined["number"], name=name, mode="lines+markers",
            line=line, marker={"size": 4 if opacity < 1 else 7}, opacity=opacity, connectgaps=False, hovertemplate=HOVER,
        )
    )  # fmt: skip


def compare(results: Any, metrics: Metrics) -> Any:
    """Best so far of several experiments (a list), against trials and against time; of one, that one's."""
    found: Sequence[Any] = results if isinstance(results, list | tuple) else [results]
    frames = [(each, so_far(each.trials)) for each in found]
    for each, shown in frames:
        _need(each, shown)
    names = {style.fitness_name(each) for each in found}
    if len(names) > 1:
        raise InputError(f"their fitness is not of the same thing: {', '.join(sorted(names))}")
    scale, unit = style.time_unit(max(float(shown["after_s"].max()) for _, shown in frames))
    fig = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.04)
    fig.update_layout(style.layout(f"best so far: {', '.join(each.name for each in found)}"))
    for number, (each, shown) in enumerate(frames):
        colour, dash = SERIES[number % len(SERIES)], ("solid", "dash", "dot")[number // len(SERIES) % 3]
        line = _steps(shown)
        for column, x in ((1, line["trials"]), (2, line["after_s"] / scale)):
            fig.add_trace(
                go.Scatter(
                    x=x, y=line["best"], mode="lines+markers", name=style.shorter(each.name, 30), legendgroup=each.name, showlegend=column == 1,
                    line={"color": colour, "shape": "hv", "width": 2, "dash": dash}, marker={"size": 5}, text=line["number"],
                    hovertemplate=f"{each.name}<br>trial %{{text}}<br>best %{{y:.4f}}<extra></extra>",
                ),
                row=1, col=column,
            )  # fmt: skip
    fig.update_xaxes(title_text="trials ended", row=1, col=1, rangemode="tozero")
    fig.update_xaxes(title_text=f"time since the first trial ({unit})", row=1, col=2, rangemode="tozero")
    fig.update_yaxes(title_text=names.pop(), row=1, col=1)
    fig.update_yaxes(range=style.window(pd.concat([_steps(shown)["best"] for _, shown in frames]))[0])
    return fig
