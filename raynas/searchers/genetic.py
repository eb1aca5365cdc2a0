"""Genetic search: the fitter of a population are crossed and mutated.

Two manners. `generational`: a random population is trained whole, its fittest become parents, their children are the
next generation, and the best of parents and children live on. That is the search of the genome report (CSL7540, IIT
Jodhpur, 2021), which leaves selection, crossover and survival open. `steady` (Whitley's GENITOR, 1989; without
duplicates: Davis, 1991): every child joins as soon as it is trained and the worst dies, so no one waits for a
generation to end.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from raynas.objectives import Trial
from raynas.rng import stream
from raynas.searchers.searcher import WARM_UP
from raynas.space import Config, Space
from raynas.tables import InputError

Share = Annotated[float, Field(ge=0, le=1)]
TRIES = 50  # mutations in a row to get to a config that was not asked for yet


def fitness(trial: Trial) -> float:
    """The fitness of a trial that has one."""
    assert trial.fitness is not None
    return trial.fitness


def _tournament(alive: list[Trial], size: int, rng: np.random.Generator) -> Trial:
    """The best of `size` different ones."""
    return alive[rng.choice(len(alive), size=min(size, len(alive)), replace=False).min()]


def _proportional(alive: list[Trial], size: int, rng: np.random.Generator) -> Trial:
    """One with a chance proportional to its fitness above the worst's (Holland's roulette; fitness may be negative)."""
    above = np.array([fitness(trial) for trial in alive])
    above -= above.min()
    return alive[rng.choice(len(alive), p=above / above.sum() if above.sum() > 0 else None)]


def _truncation(alive: list[Trial], size: int, rng: np.random.Generator) -> Trial:
    """Any: those beyond the `top` best are left out before."""
    return alive[rng.integers(len(alive))]


SELECTIONS: dict[str, Callable[[list[Trial], int, np.random.Generator], Trial]] = {
    "tournament": _tournament,
    "proportional": _proportional,
    "truncation": _truncation,
}
"""How a parent is picked from the living, who stand in order, best first."""


class Genetic:
    """`tournament` (3) is how many compete to be a parent, `top` how many may be one under truncation (null: half the
    population). A child is crossed with probability `crossover` and mutated with probability `mutation`; one that is
    neither, or was asked for already, is mutated until it is new. Trials that failed never join, nor do twins of one that
    did; trials stopped early join with what they reached."""

    def __init__(
        self,
        space: Space,
        seed: int,
        *,
        manner: Literal["steady", "generational"] = "steady",
        population: Annotated[int, Field(ge=2)] = 20,
        selection: Literal["tournament", "proportional", "truncation"] = "tournament",
        tournament: Annotated[int, Field(ge=1)] | None = None,
        top: Annotated[int, Field(ge=2)] | None = None,
        crossover: Share = 0.5,
        mutation: Share = 0.8,
    ):
        if tournament is not None and tournament > population:
            raise InputError(f"tournament ({tournament}) must not be larger than population ({population})")
        if top is not None and top > population:
            raise InputError(f"top ({top}) must not be larger than population ({population})")
        self.space, self.seed, self.population, self.generational = space, seed, population, manner == "generational"
        self.pick = SELECTIONS[selection]
        self.rivals = tournament or min(3, population)
        self.top = (top or max(2, population // 2)) if selection == "truncation" else population
        self.crossover, self.mutation = crossover, mutation
        self.alive: list[Trial] = []  # best first
        self.cohort: list[Trial] = []  # told since the living were last put in order
        self.generation, self.room, self.out, self.asked = 0, population, 0, 0
        self.seen: set[str] = set()
        self.origin: dict[str, Any] = {}

    def order(self, trials: list[Trial]) -> list[Trial]:
        """The trials, best first."""
        return sorted(trials, key=fitness, reverse=True)

    def ask(self) -> Config | None:
        if self.generational and self.room == 0:
            return None  # the generation has been asked for, and not all of it is told
        self.asked += 1
        rng = stream(self.seed, self.asked)
        first = self.generation == 0 and self.room > 0
        config = self._random(rng) if first or len(self.alive) < 2 else self._child(rng)
        self.room, self.out = max(0, self.room - 1), self.out + 1
        self.seen.add(self.space.identity(config))
        return config

    def _random(self, rng: np.random.Generator) -> Config:
        self.origin = {"operator": "random", "generation": self.generation}
        config = self.space.sample(rng)
        for _ in range(TRIES):
            if self.space.identity(config) not in self.seen:
                break
            config = self.space.sample(rng)
        return config

    def _child(self, rng: np.random.Generator) -> Config:
        pool = self.alive[: self.top]
        one = self.pick(pool, self.rivals, rng)
        other = self.pick([trial for trial in pool if trial is not one], self.rivals, rng)
        parents, operators, config = [one], [], one.config
        if rng.random() < self.crossover:
            parents, operators = [one, other], ["crossover"]
            config = self.space.cross(one.config, other.config, rng)
        mutated = rng.random() < self.mutation
        if mutated:
            config = self.space.mutate(config, rng)
        for _ in range(TRIES):
            if self.space.identity(config) not in self.seen:
                break
            config, mutated = self.space.mutate(config, rng), True
        self.origin = {
            "operator": "+".join([*operators, *(["mutation"] if mutated else [])]) or "copy",
            "parents": [parent.number for parent in parents],
            "generation": self.generation
            if self.generational
            else 1 + max(parent.origin.get("generation", 0) for parent in parents),
        }
        return config

    def tell(self, trial: Trial) -> None:
        if trial.origin.get("operator") == WARM_UP:  # as if it had been asked for
            self.room, self.out = max(0, self.room - 1), self.out + 1
            self.seen.add(trial.identity)
        self.out -= 1
        if trial.state == "refused" or trial.duplicate_of is not None:
            self.room += trial.origin["generation"] == self.generation  # another may take its place
        elif trial.fitness is not None:
            self.cohort.append(trial)
        if not self.generational or self.room == self.out == 0:
            self.alive, self.cohort = self.order([*self.alive, *self.cohort])[: self.population], []
            if self.generational:
                self.generation, self.room = self.generation + 1, self.population
