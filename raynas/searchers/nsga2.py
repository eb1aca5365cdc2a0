"""NSGA-II (Deb et al., 2002): a population whose order is the Pareto front first and the less crowded first."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from raynas.objectives import Trial
from raynas.objectives.pareto import crowded_order
from raynas.searchers.genetic import Genetic, Share
from raynas.space import Space


class NSGA2(Genetic):
    """Genetic search on all goals of the objective. `generational` is the paper's: the best of parents and children by
    the crowded comparison live on, parents come from binary tournaments. `steady` (default) lets every child join as it
    is trained (Durillo et al., 2009, found that no worse), so no one waits for a generation to end."""

    def __init__(
        self,
        space: Space,
        seed: int,
        *,
        manner: Literal["steady", "generational"] = "steady",
        population: Annotated[int, Field(ge=2)] = 20,
        crossover: Share = 0.9,
        mutation: Share = 0.8,
    ):
        super().__init__(
            space, seed, manner=manner, population=population, tournament=2, crossover=crossover, mutation=mutation
        )

    def order(self, trials: list[Trial]) -> list[Trial]:
        """By non-dominated front, then by crowding distance."""
        return (
            [trials[index] for index in crowded_order(np.array([trial.scores for trial in trials]))] if trials else []
        )
