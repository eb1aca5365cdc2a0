"""Regularized evolution (Real et al., 2019, Algorithm 1): mutate the best of a sample, let the oldest die."""

from collections import deque
from typing import Annotated, Any

from pydantic import Field

from raynas.objectives import Trial
from raynas.rng import stream
from raynas.space import Config, Space
from raynas.tables import InputError


def fitness(trial: Trial) -> float:
    """The fitness of a trial that has one."""
    assert trial.fitness is not None
    return trial.fitness


class RegularizedEvolution:
    """`population` is P and `tournament` S of the paper. Age counts in the order in which trials end, which is what
    several workers make of it. Trials that failed never join; trials stopped early join with what they reached."""

    def __init__(
        self,
        space: Space,
        seed: int,
        *,
        population: Annotated[int, Field(ge=2)] = 20,
        tournament: Annotated[int, Field(ge=1)] = 5,
    ):
        if tournament > population:
            raise InputError(f"tournament ({tournament}) must not be larger than population ({population})")
        self.space, self.seed, self.asked, self.tournament = space, seed, 0, tournament
        self.alive: deque[Trial] = deque(maxlen=population)  # line 13: appending to a full one drops the oldest
        self.origin: dict[str, Any] = {}

    def ask(self) -> Config:
        self.asked += 1
        rng = stream(self.seed, self.asked)
        if len(self.alive) < (self.alive.maxlen or 0):  # lines 3-8
            self.origin = {"operator": "random", "generation": 0}
            return self.space.sample(rng)
        rivals = [self.alive[index] for index in rng.integers(len(self.alive), size=self.tournament)]  # lines 10-14
        parent = max(rivals, key=fitness)
        generation = 1 + parent.origin.get("generation", 0)
        self.origin = {"operator": "mutation", "parents": [parent.number], "generation": generation}
        return self.space.mutate(parent.config, rng)  # line 15

    def tell(self, trial: Trial) -> None:
        if trial.fitness is not None:
            self.alive.append(trial)  # lines 18-20
