"""Which config next: the searchers."""

from collections.abc import Callable
from typing import Any

from raynas.searchers.evolution import RegularizedEvolution
from raynas.searchers.grid import Grid
from raynas.searchers.optuna import Optuna
from raynas.searchers.random import Random
from raynas.searchers.searcher import Searcher

SEARCHERS: dict[str, Callable[..., Any]] = {
    "random": Random,
    "grid": Grid,
    "regularized-evolution": RegularizedEvolution,
    "optuna": Optuna,
}

__all__ = ["SEARCHERS", "Searcher"]
