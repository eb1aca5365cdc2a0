"""Pictures of an experiment, as plotly figures."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from raynas.results import views

GREY, BLUE, RED, GREEN = "#b8b8b8", "#3366cc", "#dc3912", "#109618"
STATES = {"done": BLUE, "stopped": GREY}


def _figure(title: str, x: str, y: str) -> Any:
    return go.Figure(layout={"title": title, "xaxis_title": x, "yaxis_title": y, "template": "plotly_white"})


def _hover(frame: pd.DataFrame, parameters: list[str]) -> list[str]:
    """What is said of each trial under the pointer."""
    return [
        "<br>".join(
            [
                f"trial {row['number']}, {row['state']} after {row['epochs']} epochs, fitness {row['fitness']:.4f}",
                *(f"{name}: {row[name]}" for name in (*parameters, "params") if not pd.isna(row[name])),
            ]
        )
        for _, row in frame.iterrows()
    ]


def _points(figure: Any, frame: pd.DataFrame, x: str, y: str, parameters: list[str]) -> None:
    """Every trial as a dot, by how it ended."""
    for state, colour in STATES.items():
        part = frame[frame["state"] == state]
        if len(part):
            figure.add_scatter(
                x=part[x], y=part[y], mode="markers", name=state, marker={"color": colour, "opacity": 0.6},
                hovertext=_hover(part, parameters), hoverinfo="text",
            )  # fmt: skip


def generations(results: Any, metrics: Mapping[str, str] | None) -> Any:
    """Best, mean and worst fitness a generation over all trials."""
    figure = _figure(f"{results.name}: fitness by generation", "generation", "fitness")
    frame = results.generations()
    for name, colour in (("best", GREEN), ("mean", BLUE), ("worst", RED)):
        figure.add_scatter(x=frame["generation"], y=frame[name], mode="lines", name=name, line={"color": colour})
    _points(figure, _judged(views.with_origin(results.trials)), "generation", "fitness", results.parameters)
    figure.update_xaxes(dtick=1 if len(frame) <= 20 else None)
    return figure


def lineage(results: Any, metrics: Mapping[str, str] | None) -> Any:
    """The winner's ancestors among all trials, each joined to its children."""
    figure = _figure(f"{results.name}: lineage of the best", "generation", "fitness")
    _points(figure, _judged(views.with_origin(results.trials)), "generation", "fitness", results.parameters)
    family = results.lineage().set_index("number", drop=False).rename_axis(None)
    lines: dict[str, list[Any]] = {"x": [], "y": []}
    for _, child in family.iterrows():
        for parent in child["parents"]:
            lines["x"] += [family.at[parent, "generation"], child["generation"], None]
            lines["y"] += [family.at[parent, "fitness"], child["fitness"], None]
    figure.add_scatter(**lines, mode="lines", name="parent to child", line={"color": GREEN}, hoverinfo="skip")
    figure.add_scatter(
        x=family["generation"], y=family["fitness"], mode="markers+text", text=family["number"].astype(str),
        textposition="top center", name="ancestors", marker={"color": GREEN, "size": 10},
        hovertext=[f"{operator}<br>{text}" for operator, text in zip(family["operator"], _hover(family, results.parameters), strict=True)],
        hoverinfo="text",
    )  # fmt: skip
    return figure


def pareto(results: Any, metrics: Mapping[str, str] | None) -> Any:
    """All trials by the first two metrics, and the front."""
    goals = views.goals_of(results.experiment["spec"]["objective"], metrics)
    x, y = list(goals)[1], next(iter(goals))
    kept, _ = views.scored(results.trials, goals)
    front = results.pareto(metrics).sort_values([x, y])
    figure = _figure(f"{results.name}: Pareto front, hypervolume {results.hypervolume(metrics):.4g}", x, y)
    _points(figure, kept, x, y, results.parameters)
    figure.add_scatter(
        x=front[x], y=front[y], mode="lines+markers", name="front", line={"color": GREEN, "shape": "hv"},
        hovertext=_hover(front, results.parameters), hoverinfo="text",
    )  # fmt: skip
    return figure


def _judged(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["fitness"].notna() & frame["duplicate_of"].isna()]


PLOTS: dict[str, Callable[[Any, Mapping[str, str] | None], Any]] = {
    "generations": generations,
    "lineage": lineage,
    "pareto": pareto,
}
