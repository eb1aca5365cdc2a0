"""Generations, lineage and the Pareto front."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from raynas.results import views
from raynas.results.plots import style
from raynas.results.plots.style import BLACK, BLUE, GREEN, ORANGE, VERMILION, Metrics
from raynas.tables import InputError

NUMBERED = 30  # ancestors with their numbers beside them
NAMES = {
    "params": "parameters", "flops": "FLOPs (one image)", "memory_mb": "memory (MB)", "latency_ms": "latency (ms)",
    "seconds": "training time (s)", "val_accuracy": "validation accuracy", "val_loss": "validation loss (nats)",
}  # fmt: skip
SIZE = {"params": "min"}  # beside what a search with one objective was for


def generations(results: Any, metrics: Metrics) -> Any:
    """Best, mean and worst fitness a generation over all trials."""
    frame = results.generations()
    shown = style.judged(views.with_origin(results.trials))
    if shown.empty:
        raise InputError(f"'{results.name}' has no trial with a fitness yet")
    reach, hidden = style.window(shown["fitness"])
    said = f"{hidden:,} below the picture" * (hidden > 0)
    fig = style.figure(
        f"{results.name}: fitness by generation", "generation", style.fitness_name(results), subtitle=said
    )
    style.dots(fig, shown, "generation", results.parameters)
    for name, colour, dash in (("best", GREEN, "solid"), ("mean", BLUE, "dash"), ("worst", VERMILION, "dot")):
        fig.add_scatter(
            x=frame["generation"], y=frame[name], mode="lines+markers" if len(frame) <= 60 else "lines", name=name, hoverinfo="skip",
            line={"color": colour, "width": 2.5, "dash": dash}, marker={"size": 5, "color": colour},
        )  # fmt: skip
    fig.update_xaxes(style.whole_axis(frame["generation"]))
    fig.update_yaxes(range=reach or style.around(shown["fitness"]))
    return fig


def lineage(results: Any, metrics: Metrics) -> Any:
    """The winner's ancestors among all trials, each joined to its children."""
    family = results.lineage().set_index("number", drop=False).rename_axis(None)
    shown = style.judged(views.with_origin(results.trials))
    reach, hidden = style.window(shown["fitness"])
    winner = family["number"].iloc[-1]
    said = f"{len(family) - 1} ancestors" + (f"; {hidden:,} trials below the picture" if hidden else "")
    fig = style.figure(
        f"{results.name}: lineage of trial {winner}, the best", "generation", style.fitness_name(results), said
    )
    style.dots(fig, shown, "generation", results.parameters)
    lines: dict[str, list[Any]] = {"x": [], "y": []}
    for _, child in family.iterrows():
        for parent in child["parents"]:
            lines["x"] += [family.at[parent, "generation"], child["generation"], None]
            lines["y"] += [family.at[parent, "fitness"], child["fitness"], None]
    fig.add_scatter(
        **lines, mode="lines", name="parent to child", line={"color": BLACK, "width": 1.6}, hoverinfo="skip"
    )
    texts = style.hover(family, results.parameters)
    few = len(family) <= NUMBERED
    fig.add_scatter(
        x=family["generation"], y=family["fitness"], mode="markers+text" if few else "markers",
        text=family["number"].astype(str), textposition=_beside(family), textfont={"color": BLACK}, name="ancestors",
        marker={"color": ORANGE, "size": [16 if number == winner else 10 for number in family["number"]],
                "line": {"color": BLACK, "width": 1}},
        hovertext=[f"{operator}<br>{text}" for operator, text in zip(family["operator"], texts, strict=True)],
        hoverinfo="text",
    )  # fmt: skip
    fig.update_xaxes(style.whole_axis(shown["generation"]))
    fig.update_yaxes(range=reach or style.around(shown["fitness"]))
    return fig


def pareto(results: Any, metrics: Metrics) -> Any:
    """All trials by the first two metrics, and the front; of a search with one objective, that and parameters."""
    objective = results.experiment["spec"]["objective"]
    if metrics is None and not objective.get("metrics"):
        metrics = {_what(objective, results.trials): "max", **SIZE}
    goals = views.goals_of(objective, metrics)
    x, y = list(goals)[1], next(iter(goals))
    kept, _ = views.scored(results.trials, goals)
    if kept.empty:
        raise InputError(f"'{results.name}' has no trial that ended with {' and '.join(goals)} yet")
    front = results.pareto(metrics).sort_values([x, y])
    better = ", ".join(f"{name} {'higher' if sign > 0 else 'lower'}" for name, sign in goals.items())
    said = f"better: {better}; {len(front)} of {len(kept):,} trials on the front, hypervolume {results.hypervolume(metrics):.4g}"
    fig = style.figure(f"{results.name}: Pareto front", NAMES.get(x, x), NAMES.get(y, y), said)
    style.dots(fig, kept, x, results.parameters, y=y)
    fig.add_scatter(
        x=front[x], y=front[y], mode="lines+markers" if len(goals) == 2 else "markers", name="front",
        line={"color": ORANGE, "shape": _corner(goals[x], goals[y]), "width": 2},
        marker={"size": 10, "color": ORANGE, "line": {"color": BLACK, "width": 1}},
        hovertext=style.hover(front, results.parameters), hoverinfo="text",
    )  # fmt: skip
    if (kept[x] > 0).all() and kept[x].max() > 50 * kept[x].min():
        fig.update_xaxes(type="log")
    return fig


def _what(objective: Mapping[str, Any], trials: pd.DataFrame) -> str:
    """What one objective maximises, by its own name where that is accuracy."""
    said = (objective.get("fitness"), objective.get("metric"), objective.get("mode", "max"))
    accuracy = said[0] == "accuracy" or said == ("metric", "val_accuracy", "max")
    return "val_accuracy" if accuracy and "val_accuracy" in trials else "fitness"


def _corner(x: float, y: float) -> str:
    """The steps of a front turn where what they dominate does: after going right where lower x is better."""
    return "hv" if x < 0 else "vh"


def _beside(family: pd.DataFrame) -> list[str]:
    """Where each ancestor's number stands: above the best of a generation, below its worst, beside those between."""
    ranks = family.groupby("generation")["fitness"].rank(method="first", ascending=False).fillna(1)
    last = ranks.groupby(family["generation"]).transform("max")
    between = ["top center" if rank == 1 else "middle left" for rank in ranks]
    return [
        "bottom center" if 1 < rank == most else place for rank, most, place in zip(ranks, last, between, strict=True)
    ]
