"""Random search (Bergstra & Bengio, 2012): the baseline that any other searcher has to beat."""

from typing import Any

from raynas.objectives import Trial
from raynas.rng import stream
from raynas.space import Config, Space


class Random:
    """Every config is an independent draw."""

    def __init__(self, space: Space, seed: int):
        self.space, self.seed, self.asked = space, seed, 0
        self.origin: dict[str, Any] = {}

    def ask(self) -> Config:
        self.asked += 1
        self.origin = {"operator": "random"}
        return self.space.sample(stream(self.seed, self.asked))

    def tell(self, trial: Trial) -> None:
        pass
