"""`raynas bench quality`: how good the searchers are on NAS-Bench-201, by its paper's protocol, beside its figures.

Search on CIFAR-10 by the validation accuracy after 12 epochs until 12,000 simulated seconds of training are used up; then
look at the chosen cell's accuracies after 200 epochs on all three datasets (Dong & Yang, 2020, sec. 4 and Table 5).
"""

import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from rich.console import Console
from rich.table import Table as Shown

from raynas.data.tabular import find_table, load_table
from raynas.run.simulate import plan_simulation, simulated
from raynas.searchers import Warmed, WarmUp
from raynas.tables import look_up

PARTS = ("cifar10", "cifar100", "imagenet16_120")
SMALL = {"population": 10, "tournament": 3}
PAID = " *"


@dataclass(frozen=True)
class Contestant:
    """`merge`: isomorphic cells are one network, trained once, as raynas has it; the published searches trained each.
    `proxy`: the column of the table of proxies by which the searcher is warmed up."""

    search: dict[str, Any]
    merge: bool = True
    proxy: str | None = None


CONTESTANTS: dict[str, Contestant] = {
    "random" + PAID: Contestant({"name": "random"}, merge=False),
    "regularized evolution" + PAID: Contestant({"name": "regularized-evolution", **SMALL}, merge=False),
    "REINFORCE" + PAID: Contestant({"name": "reinforce"}, merge=False),
    "ENAS" + PAID: Contestant({"name": "enas"}, merge=False),
    "random": Contestant({"name": "random"}),
    "regularized evolution": Contestant({"name": "regularized-evolution", **SMALL}),
    "REINFORCE": Contestant({"name": "reinforce"}),
    "ENAS": Contestant({"name": "enas"}),
    "genetic, steady": Contestant({"name": "genetic", **SMALL}),
    "genetic, generational": Contestant({"name": "genetic", "manner": "generational", **SMALL}),
    "Optuna TPE": Contestant({"name": "optuna"}),
    "local search": Contestant({"name": "local-search"}),
    "BANANAS": Contestant({"name": "bananas"}),
    "regularized evolution, naswot": Contestant({"name": "regularized-evolution", **SMALL}, proxy="naswot"),
    "BANANAS, naswot": Contestant({"name": "bananas"}, proxy="naswot"),
}
PUBLISHED = {
    "random, published": "90.93 ± 0.36, 93.70 ± 0.36|70.93 ± 1.09, 71.04 ± 1.07|44.45 ± 1.10, 44.57 ± 1.25",
    "regularized evolution, published": "91.19 ± 0.31, 93.92 ± 0.30|71.81 ± 1.12, 71.84 ± 0.99|45.15 ± 0.89, 45.54 ± 1.03",
    "REINFORCE, published": "91.09 ± 0.37, 93.85 ± 0.37|71.61 ± 1.12, 71.71 ± 1.09|45.05 ± 1.02, 45.24 ± 1.18",
    "BOHB, published": "90.82 ± 0.53, 93.61 ± 0.52|70.74 ± 1.29, 70.85 ± 1.28|44.26 ± 1.36, 44.42 ± 1.49",
}
"""Validation and test accuracy in %, mean and standard deviation over 500 runs, of the paper's Table 5."""
SPLITS = ("val_accuracy_200", "test_accuracy")
AT_QUERIES, AT_SECONDS = (10, 50, 100, 150, 300), (3_000, 12_000)
POINTS = 60  # of a curve


@dataclass(frozen=True)
class Searched:
    """One search: the best validation accuracy after each query and when (simulated seconds), what the cell chosen at the
    end of the protocol's time scores after 200 epochs (validation, test of each part), and how many cells were trained by
    then."""

    best: np.ndarray
    seconds: np.ndarray
    finals: tuple[float, ...]
    cells: int


def search_once(name: str, path: str, queries: int, seconds: float, seed: int) -> Searched:
    """Run the contestant called `name`."""
    contestant = CONTESTANTS[name]
    data = f"tabular:{path}#{PARTS[0]}"
    spec = {
        "data": data,
        "search": contestant.search,
        "training": {"epochs": 12},
        "budget": {"trials": queries},
    }
    plan = plan_simulation(spec)
    searcher = plan.searcher(seed)
    if contestant.proxy is not None:
        table, settings = load_table(data), WarmUp(proxy=contestant.proxy)
        column = proxies(path)[contestant.proxy]
        searcher = Warmed(
            searcher,
            plan.space,
            seed,
            settings,
            lambda config: float(column[table.find(config)]),
            lambda config: float(table.costs["params"][table.find(config)]),
        )
    run = simulated(plan, seed, workers=1, merge=contestant.merge, searcher=searcher)
    best = run.best(seconds)
    assert best is not None
    row = run.rows[best.number]  # the parts of the file have the same rows
    ends = [load_table(f"tabular:{path}#{part}").final for part in PARTS]
    finals = tuple(100 * float(end[split][row]) for end in ends for split in SPLITS)
    values = [run.trials[number].fitness or 0.0 for _, number in run.ended]
    times = np.array([second for second, _ in run.ended])
    return Searched(np.maximum.accumulate(values), times, finals, int((times <= seconds).sum()))


def proxies(path: str) -> dict[str, np.ndarray]:
    """CIFAR-10's columns of the table of proxies beside the file; empty when there is none."""
    file = Path(path).with_name(f"{Path(path).stem}_zero_cost.npz")
    if not file.is_file():
        return {}
    with np.load(file, allow_pickle=False) as arrays:
        return {name.removeprefix("cifar10_"): arrays[name] for name in arrays.files if name.startswith("cifar10_")}


def quality(
    *,
    table: str = "nasbench201.npz",
    seeds: Annotated[int, Field(ge=2)] = 200,
    queries: Annotated[int, Field(ge=10)] = 300,
    seconds: Annotated[float, Field(gt=0)] = 12_000.0,
    only: list[str] | None = None,
    plot: str = "",
) -> None:
    """`table` is NAS-Bench-201's, a path or a file in $RAYNAS_DATA; `only` names the contestants beside random; `plot` is where
    to write the curves (HTML)."""
    chosen = (
        CONTESTANTS if only is None else {name: look_up("contestant", name, CONTESTANTS) for name in ["random", *only]}
    )
    path = find_table(table)
    optimum = float(load_table(f"tabular:{path}#{PARTS[0]}").metrics["val_accuracy"][:, 0].max())
    known = proxies(str(path))
    found: dict[str, list[Searched]] = {}
    console = Console(width=160, highlight=False)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for name, contestant in chosen.items():
            if contestant.proxy is None or contestant.proxy in known:
                once = partial(search_once, name, str(path), queries, seconds)
                found[name] = list(pool.map(once, range(seeds), chunksize=10))
    console.print(
        f"[bold]NAS-Bench-201[/bold]: {seeds} seeds; {seconds:,.0f} simulated seconds, then 200 epochs: validation, test accuracy in %, mean ± std"
    )
    console.print(_protocol(found))
    console.print("* every cell is trained, as in the paper; the others train isomorphic cells once")
    rates = {name: _rate(str(path), name) for name in ("random", "regularized evolution")}
    console.print("simulated trials a second: " + ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items()))
    console.print(
        f"regret in % (validation accuracy after 12 epochs; the best cell has {100 * optimum:.2f}), mean ± 95 %"
    )
    console.print(_regrets(found, optimum, queries))
    if plot:
        _figure(found, optimum, queries).write_html(plot, include_plotlyjs=True)
        console.print(f"curves: {plot}")


def _rate(path: str, name: str) -> float:
    """How many trials a second one process simulates."""
    began, trials = time.perf_counter(), 0
    for seed in range(10):
        trials += len(search_once(name, path, 500, 1e4, seed).best)
    return trials / (time.perf_counter() - began)


def _protocol(found: dict[str, list[Searched]]) -> Shown:
    made = Shown("searcher", "cells", *PARTS, box=None)
    for name, figures in PUBLISHED.items():
        made.add_row(name, "", *figures.split("|"))
    for name, runs in found.items():
        columns = np.array([run.finals for run in runs]).T
        cells = [f"{column.mean():.2f} ± {column.std(ddof=1):.2f}" for column in columns]
        pairs = [", ".join(cells[place : place + 2]) for place in range(0, len(cells), 2)]
        made.add_row(name, f"{np.mean([run.cells for run in runs]):.0f}", *pairs)
    return made


def _regrets(found: dict[str, list[Searched]], optimum: float, queries: int) -> Shown:
    """Regret after some cells and some seconds, the p-value of the difference from random after 150, how often the best
    cell of all was found and after how many (median)."""
    counts = [count for count in AT_QUERIES if count <= queries]
    judged = min(150, queries)
    heads = [*(f"{count} cells" for count in counts), *(f"{second:,} s" for second in AT_SECONDS)]
    made = Shown("searcher", *heads, f"p at {judged}", "best found", "after", box=None)
    for name, runs in found.items():
        curves = np.array([_padded(run.best, queries) for run in runs])
        timed = np.array([_at(run, AT_SECONDS) for run in runs])
        cells = [_interval(100 * (optimum - curves[:, count - 1])) for count in counts]
        cells += [_interval(100 * (optimum - timed[:, place])) for place in range(len(AT_SECONDS))]
        base = np.array([_padded(run.best, queries)[judged - 1] for run in found["random"]])
        there = np.where(curves >= optimum, np.arange(1, queries + 1), np.inf).min(axis=1)
        middle = float(np.median(there))
        made.add_row(
            name,
            *cells,
            "" if name.startswith("random") else f"{p_value(curves[:, judged - 1], base):.1g}",
            f"{np.isfinite(there).mean():.0%}",
            f"{middle:.0f}" if np.isfinite(middle) else f"> {queries}",
        )
    return made


def p_value(one: np.ndarray, other: np.ndarray) -> float:
    """Two-sided, that two samples have one mean (Welch's statistic, normal for the many seeds here)."""
    spread = one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other)
    return math.erfc(abs(one.mean() - other.mean()) / math.sqrt(2 * spread)) if spread > 0 else 1.0


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    """A search that ended early keeps its best."""
    return np.pad(values[:length], (0, max(0, length - len(values))), mode="edge")


def _at(run: Searched, seconds: Any) -> np.ndarray:
    """The best by each second; the first result before there is any."""
    places = np.searchsorted(run.seconds, seconds, side="right") - 1
    return np.asarray(run.best[np.maximum(places, 0)])


def _interval(values: np.ndarray) -> str:
    return f"{values.mean():.2f} ± {1.96 * values.std(ddof=1) / len(values) ** 0.5:.2f}"


def _figure(found: dict[str, list[Searched]], optimum: float, queries: int) -> Any:
    """Mean regret with its 95 % band, against queries and against simulated seconds."""
    from plotly.colors import qualitative
    from plotly.subplots import make_subplots

    figure = make_subplots(
        cols=2, subplot_titles=("against cells trained", "against simulated seconds"), shared_yaxes=True
    )
    figure.update_layout(template="plotly_white", title="Regret on NAS-Bench-201, CIFAR-10 (validation accuracy, %)")
    counts = np.unique(np.geomspace(1, queries, POINTS).astype(int))
    grid = np.geomspace(300, 2 * AT_SECONDS[-1], POINTS)
    for number, (name, runs) in enumerate(found.items()):
        colour = qualitative.Dark24[number]
        by_query = np.array([_padded(run.best, queries)[counts - 1] for run in runs])
        by_second = np.array([_at(run, grid) for run in runs])
        for column, (x, values) in enumerate(((counts, by_query), (grid, by_second)), start=1):
            regret = 100 * (optimum - values)
            half = 1.96 * regret.std(axis=0, ddof=1) / len(runs) ** 0.5
            middle = regret.mean(axis=0)
            band = {"x": [*x, *x[::-1]], "y": [*(middle + half), *(middle - half)[::-1]]}
            figure.add_scatter(**band, fill="toself", fillcolor=colour, opacity=0.15, line={"width": 0}, hoverinfo="skip",
                               legendgroup=name, showlegend=False, row=1, col=column)  # fmt: skip
            figure.add_scatter(x=x, y=middle, name=name, line={"color": colour}, legendgroup=name,
                               showlegend=column == 1, row=1, col=column)  # fmt: skip
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log", title_text="regret, %", col=1)
    return figure
