"""Local search (White et al., 2021, "Local search is state of the art for NAS benchmarks", Algorithm 1)."""

from typing import Any

from raynas.objectives import Trial
from raynas.rng import stream
from raynas.searchers.genetic import fitness
from raynas.space import Config, Space


class LocalSearch:
    """From a random config to the best of its neighbours (one decision changed) until none is better; then anew.

    Workers that would wait for the last neighbours draw random configs; the best of these that came since is where the
    next descent begins.
    """

    def __init__(self, space: Space, seed: int):
        self.space, self.seed, self.asked = space, seed, 0
        self.centre: Trial | None = None
        self.queue: list[Config] = []  # neighbours to ask for
        self.ring: list[Trial] = []  # neighbours that were told
        self.out = 0  # neighbours asked for and not told
        self.starts: list[Trial] = []  # random ones told since the descent began
        self.seen: set[str] = set()
        self.origin: dict[str, Any] = {}

    def ask(self) -> Config:
        self.asked += 1
        rng = stream(self.seed, self.asked)
        if self.queue and self.centre is not None:
            config = self.queue.pop(int(rng.integers(len(self.queue))))
            self.out += 1
            self.origin = {"operator": "neighbour", "parents": [self.centre.number]}
        else:
            config = self.space.sample(rng)
            self.origin = {"operator": "random"}
        self.seen.add(self.space.identity(config))
        return config

    def tell(self, trial: Trial) -> None:
        if trial.origin["operator"] == "neighbour":
            self.out -= 1
            self.ring.append(trial)
        else:
            self.starts.append(trial)
            self.seen.add(trial.identity)
        if self.centre is None or (not self.queue and self.out == 0):
            self._move()

    def _move(self) -> None:
        """To the best neighbour if it is better, else to the best new start."""
        ring = [trial for trial in self.ring if trial.fitness is not None]
        best = max(ring, key=fitness, default=None)
        if self.centre is None or best is None or fitness(best) <= fitness(self.centre):
            starts = [trial for trial in self.starts if trial.fitness is not None]
            best, self.starts = max(starts, key=fitness, default=None), []
        self.centre, self.ring = best, []
        neighbours = [] if best is None else self.space.neighbours(best.config)
        self.queue = [config for config in neighbours if self.space.identity(config) not in self.seen]
