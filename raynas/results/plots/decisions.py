"""What made the difference: parallel coordinates and importances."""

import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from raynas.results.drawing.sheet import spoken
from raynas.results.importances import matters
from raynas.results.plots import style
from raynas.results.plots.style import BLUE, GREY, ORANGE, Metrics
from raynas.space import kinds, read
from raynas.tables import InputError

AXES = 8  # of parallel coordinates: more do not fit on a page
LINES = 1000
BARS = 15
NOT_THERE = "not there"


def _decisions(results: Any, trials: pd.DataFrame) -> dict[str, tuple[Any, list[Any]]]:
    """By name: the domain of each decision (an architecture's genes, the hyperparameters) and the trials' values; None where
    a gene means nothing in a network."""
    space = read(results.experiment["spec"]["space"])
    configs = trials[list(space.domains)].to_dict("records")
    found: dict[str, tuple[Any, list[Any]]] = {}
    for name, domain in space.domains.items():
        for config in configs:
            values = kinds.to_genes(domain, config[name])
            for gene, plain in kinds.genes(domain).items():
                there = gene == "" or matters(domain, config[name], values, gene, plain)
                found.setdefault(f"{name}.{gene}" if gene else name, (plain, []))[1].append(
                    values[gene] if there else None
                )
    return found


def explained(values: list[Any], fitness: np.ndarray) -> float:
    """The share of the variance of fitness between groups of equal values (numbers: fifths), less what chance would give
    (omega squared); 0 where nothing differs."""
    column = pd.Series(values, dtype=object).map(lambda value: NOT_THERE if value is None else value)
    numbers = pd.to_numeric(column, errors="coerce")
    many = numbers.nunique() > 5
    groups = pd.qcut(numbers, 5, labels=False, duplicates="drop").fillna(-1) if many else column.map(str)
    frame = pd.DataFrame({"group": list(groups), "fitness": fitness})
    count, rest = frame["group"].nunique(), len(frame) - frame["group"].nunique()
    total = float(((fitness - fitness.mean()) ** 2).sum())
    if count < 2 or rest < 1 or total <= 0:
        return 0.0
    means = frame.groupby("group")["fitness"].transform("mean")
    within = float(((frame["fitness"] - means) ** 2).sum()) / rest
    return (total - within * rest - (count - 1) * within) / (total + within)


def _numbers(values: list[float | None], log: bool, whole: bool = False) -> dict[str, Any]:
    """An axis of numbers; what is not there lies below the least."""
    there = np.array([math.nan if value is None else float(value) for value in values])
    placed = np.log10(there) if log else there
    low, high = float(np.nanmin(placed)), float(np.nanmax(placed))
    wide = high - low or 1.0
    if log:
        ticks = [
            math.log10(power * lead)
            for power in 10.0 ** np.arange(math.floor(low), math.ceil(high) + 1)
            for lead in (1, 1.5, 2, 3, 5, 7)
        ]
        ticks = [tick for tick in ticks if low - 1e-9 <= tick <= high + 1e-9] or [low]
        ticks = ticks if len(ticks) < 9 else ticks[:: -(-len(ticks) // 8)]
    else:
        ticks = list(np.linspace(low, high, 5)) if high > low else [low]
        ticks = sorted({float(round(tick)) for tick in ticks}) if whole else ticks
    texts = [_tick(10**tick if log else tick) for tick in ticks]
    if np.isnan(placed).any():
        placed = np.where(np.isnan(placed), low - 0.12 * wide, placed)
        ticks, texts = [low - 0.12 * wide, *ticks], [NOT_THERE, *texts]
    return {
        "values": placed,
        "tickvals": ticks,
        "ticktext": texts,
        "range": [min(placed.min(), low), max(high, low + wide * 1e-3)],
    }


def _tick(value: float) -> str:
    if abs(value) >= 1e3:
        return f"{value / 1e6:.3g}M" if abs(value) >= 1e6 else f"{value / 1e3:.3g}k"
    return f"{value:.3g}"


def _names(values: list[Any], known: list[Any]) -> dict[str, Any]:
    """An axis of names, in the order of the space."""
    texts = [style.shorter(spoken(str(item)), 14) for item in known]
    placed = np.array([-1.0 if value is None else float(known.index(value)) for value in values])
    ticks = list(range(len(known)))
    if (placed < 0).any():
        ticks, texts = [-1, *ticks], [NOT_THERE, *texts]
    return {"values": placed, "tickvals": ticks, "ticktext": texts, "range": [ticks[0], max(ticks[-1], ticks[0] + 1)]}


def _axis(name: str, domain: Any, values: list[Any]) -> dict[str, Any]:
    label = style.shorter(name.removeprefix("architecture."), 16)
    levels = kinds.levels(domain)
    if levels is not None and (len(levels) <= 8 or not all(isinstance(level, int | float) for level in levels)):
        return {"label": label, **_names(values, levels)}
    scale = kinds.scale(domain)
    return {"label": label, **_numbers(values, scale.log, scale.whole)}


def parallel(results: Any, metrics: Metrics) -> Any:
    """A line a trial through its decisions to its fitness; of many decisions those that go most with it."""
    shown = style.judged(results.trials)
    shown = shown[shown["state"].isin(["done", "stopped"])]
    if shown.empty:
        raise InputError(f"'{results.name}' has no trial that ended with a fitness yet")
    if not results.parameters:
        raise InputError(f"no parameter of '{results.name}' varies: there are no decisions to draw yet")
    kept, thinning = style.thinned(shown, LINES)
    kept = kept.sort_values("fitness")  # the best lie on top
    fitness = kept["fitness"].to_numpy(dtype=float)
    found = _decisions(results, kept)
    found = {
        name: (domain, values) for name, (domain, values) in found.items() if any(value is not None for value in values)
    }
    order = sorted(found, key=lambda name: -explained(found[name][1], fitness))[:AXES]
    picked = [name for name in found if name in order]
    said = [thinning, f"{len(picked)} of {len(found)} decisions: those that go most with fitness" * (len(found) > AXES)]
    axes = [_axis(name, *found[name]) for name in picked]
    if kept["params"].notna().all():
        axes.append({"label": "parameters", **_numbers([float(value) for value in kept["params"]], True)})
    reach, hidden = style.window(kept["fitness"])
    low, high = reach or [float(fitness.min()), float(fitness.max())]
    axes.append(
        {"label": "fitness", "values": np.clip(fitness, low, None), "range": [low, high if high > low else low + 1e-3]}
    )
    said.append(f"{hidden} drawn at the low end of fitness" * (hidden > 0))
    fig = style.figure(f"{results.name}: decisions and fitness", subtitle=style.sentence(said))
    fig.add_trace(
        go.Parcoords(
            dimensions=axes, labelfont={"size": 12}, tickfont={"size": 11}, rangefont={"size": 1, "color": "rgba(0,0,0,0)"},
            line={"color": np.clip(fitness, low, None), "colorscale": "Viridis", "reversescale": True, "showscale": True,
                  "colorbar": {"title": "fitness", "thickness": 12}},
        )
    )  # fmt: skip
    first = max(map(len, axes[0].get("ticktext", [""])))
    ranks = [picked.index(name) for name in order]  # where there is room for fewer, these come first
    fig.update_layout(meta={"order": ranks}, margin={"l": 30 + 7 * first, "r": 40, "t": 118, "b": 30})
    return fig


KINDS = {"architecture": BLUE, "parameter": ORANGE, "cost": GREY}


def importances(results: Any, metrics: Metrics) -> Any:
    """How much of the variance of fitness each decision explains alone, with the spread over resamplings."""
    frame = results.importances()
    shown, rest = frame.head(BARS).iloc[::-1], frame.iloc[BARS:]
    said = [f"functional ANOVA of {int(frame['trials'].iloc[0]):,} trials at epoch {int(frame['epoch'].iloc[0])}" if len(frame) else "",
            f"{len(rest)} more explain {rest['importance'].sum():.0%} together" * (len(rest) > 0)]  # fmt: skip
    fig = style.figure(
        f"{results.name}: importances",
        "share of the variance of fitness",
        subtitle=style.sentence([*said, "bars: ± spread"]),
    )
    for kind, colour in KINDS.items():
        part = shown[shown["kind"] == kind]
        if len(part):
            fig.add_bar(
                x=part["importance"], y=part["name"], orientation="h", name=kind, marker={"color": colour},
                error_x={"array": part["spread"], "arrayminus": part[["spread", "importance"]].min(axis=1), "color": "#333", "thickness": 1.2, "width": 3},
                customdata=part[["spread", "active"]], hovertemplate="%{y}: %{x:.1%} ± %{customdata[0]:.1%}<br>matters in %{customdata[1]:.0%} of the trials<extra></extra>",
            )  # fmt: skip
    fig.update_yaxes(automargin=True, categoryorder="array", categoryarray=shown["name"], tickfont={"size": 12})
    fig.update_xaxes(tickformat=".0%", rangemode="tozero")
    return fig
