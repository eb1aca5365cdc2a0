"""Which config next: the searchers."""

from collections.abc import Callable
from typing import Any

from raynas.searchers.bananas import Bananas
from raynas.searchers.enas import Enas
from raynas.searchers.evolution import RegularizedEvolution
from raynas.searchers.genetic import Genetic
from raynas.searchers.grid import Grid
from raynas.searchers.local import LocalSearch
from raynas.searchers.nsga2 import NSGA2
from raynas.searchers.optuna import Optuna
from raynas.searchers.random import Random
from raynas.searchers.reinforce import Reinforce
from raynas.searchers.searcher import Searcher
from raynas.searchers.warm_up import Warmed, WarmUp

SEARCHERS: dict[str, Callable[..., Any]] = {
    "random": Random,
    "grid": Grid,
    "genetic": Genetic,
    "local-search": LocalSearch,
    "nsga2": NSGA2,
    "bananas": Bananas,
    "regularized-evolution": RegularizedEvolution,
    "reinforce": Reinforce,
    "enas": Enas,
    "optuna": Optuna,
}

__all__ = ["SEARCHERS", "Searcher", "WarmUp", "Warmed"]
