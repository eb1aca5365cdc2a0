"""Pictures of an experiment, as plotly figures: a table of functions of (results, metrics)."""

from collections.abc import Callable, Mapping
from typing import Any

from raynas.results.plots.decisions import importances, parallel
from raynas.results.plots.evolution import generations, lineage, pareto
from raynas.results.plots.places import rungs, timeline
from raynas.results.plots.progress import best_so_far, compare, curves

PLOTS: dict[str, Callable[[Any, Mapping[str, str] | None], Any]] = {
    "best_so_far": best_so_far,
    "curves": curves,
    "rungs": rungs,
    "generations": generations,
    "lineage": lineage,
    "pareto": pareto,
    "parallel": parallel,
    "importances": importances,
    "timeline": timeline,
    "compare": compare,
}
"""Each raises InputError where the experiment has nothing for it yet, with the reason. `compare` takes a list of results."""

__all__ = ["PLOTS"]
