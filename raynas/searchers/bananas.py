"""BANANAS (White et al., 2021): an ensemble of small networks predicts fitness, the best of mutants is trained next."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from threadpoolctl import threadpool_limits

from raynas.objectives import Trial
from raynas.rng import stream
from raynas.searchers.genetic import fitness
from raynas.space import Config, Space

Count = Annotated[int, Field(ge=1)]
HIDDEN, STEPS, RATE, DECAY = 32, 120, 0.02, 1e-3


@dataclass
class Ensemble:
    """Perceptrons of one hidden layer, trained at once, each from its own start; weights (nets, inputs, outputs)."""

    first: np.ndarray
    second: np.ndarray
    middle: float
    scale: float

    @classmethod
    def fitted(cls, features: np.ndarray, targets: np.ndarray, nets: int, rng: np.random.Generator) -> "Ensemble":
        """Least squares by Adam on all rows at once: `features` (n, d), `targets` (n,)."""
        middle, scale = float(targets.mean()), float(targets.std()) or 1.0
        inputs, wanted = _with_one(features), (targets - middle) / scale
        weights = [
            rng.normal(size=(nets, inputs.shape[1], HIDDEN)) / np.sqrt(inputs.shape[1]),
            rng.normal(size=(nets, HIDDEN + 1)) / np.sqrt(HIDDEN),
        ]
        moments = [(np.zeros_like(each), np.zeros_like(each)) for each in weights]
        for step in range(1, STEPS + 1):
            before = inputs @ weights[0]  # (nets, n, hidden)
            hidden = _with_one(np.maximum(before, 0.0))
            error = (hidden @ weights[1][:, :, None])[..., 0] - wanted  # (nets, n)
            back = error[..., None] * weights[1][:, None, :-1] * (before > 0)
            gradients = [inputs.T @ back / len(wanted), (error[:, None, :] @ hidden)[:, 0] / len(wanted)]
            for index, gradient in enumerate(gradients):
                slope = gradient + DECAY * weights[index]
                one, two = moments[index]
                one, two = moments[index] = 0.9 * one + 0.1 * slope, 0.999 * two + 0.001 * slope**2
                moved = RATE * (one / (1 - 0.9**step)) / (np.sqrt(two / (1 - 0.999**step)) + 1e-8)
                weights[index] = weights[index] - moved
        return cls(weights[0], weights[1], middle, scale)

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation over the nets, (n,) each."""
        hidden = _with_one(np.maximum(_with_one(features) @ self.first, 0.0))
        found = self.middle + self.scale * (hidden @ self.second[:, :, None])[..., 0]
        return found.mean(axis=0), found.std(axis=0)


def stretched(values: list[float]) -> np.ndarray:
    """-log of how far each is behind the best, in medians of that and 5 %: differences among the good ones count more, as in
    the paper's loss (eq. 2), and one network that never learned does not bend the fit. Keeps the order."""
    behind = max(values) - np.asarray(values, dtype=float)
    return np.asarray(-np.log(behind / (np.median(behind) or 1.0) + 0.05))


def _with_one(values: np.ndarray) -> np.ndarray:
    """A last column of ones: the bias."""
    return np.concatenate([values, np.ones((*values.shape[:-1], 1))], axis=-1)


class Bananas:
    """After `initial` random configs: fit `nets` predictors on `Space.features` (paths, for cells), mutate the `best` of what
    was told into `candidates`, draw each one's fitness from its prediction (independent Thompson sampling), ask for the
    `batch` best, and so on."""

    def __init__(
        self,
        space: Space,
        seed: int,
        *,
        initial: Annotated[int, Field(ge=2)] = 10,
        batch: Count = 10,
        nets: Annotated[int, Field(ge=2)] = 5,
        best: Count = 10,
        candidates: Count = 100,
    ):
        self.space, self.seed, self.asked = space, seed, 0
        self.initial, self.batch, self.nets, self.best, self.candidates = initial, batch, nets, best, candidates
        self.told: list[Trial] = []
        self.queue: list[tuple[Config, int]] = []  # chosen, with the number of their parent
        self.seen: set[str] = set()
        self.origin: dict[str, Any] = {}

    def ask(self) -> Config:
        self.asked += 1
        rng = stream(self.seed, self.asked)
        if len(self.seen) >= self.initial and len(self.told) >= 2 and not self.queue:
            self.queue = self._choose(rng)
        if self.queue:
            config, parent = self.queue.pop(0)
            self.origin = {"operator": "mutation", "parents": [parent]}
        else:
            config = self.space.sample(rng)
            self.origin = {"operator": "random"}
        self.seen.add(self.space.identity(config))
        return config

    def _choose(self, rng: np.random.Generator) -> list[tuple[Config, int]]:
        """The next batch, most promising first."""
        parents = sorted(self.told, key=fitness, reverse=True)[: self.best]
        pool: dict[str, tuple[Config, int]] = {}
        for number in range(self.candidates):
            parent = parents[number % len(parents)]
            config = self.space.mutate(parent.config, rng)
            if number >= self.candidates // 2:  # half of them a step further
                config = self.space.mutate(config, rng)
            identity = self.space.identity(config)
            if identity not in self.seen:
                pool.setdefault(identity, (config, parent.number))
        if not pool:
            return []
        features = np.stack([self.space.features(trial.config) for trial in self.told])
        with threadpool_limits(1):  # trials may be training beside it
            ensemble = Ensemble.fitted(features, stretched([fitness(trial) for trial in self.told]), self.nets, rng)
        mean, deviation = ensemble.predict(np.stack([self.space.features(config) for config, _ in pool.values()]))
        order = np.argsort(-rng.normal(mean, deviation), kind="stable")
        chosen = list(pool.values())
        return [chosen[index] for index in order[: self.batch]]

    def tell(self, trial: Trial) -> None:
        self.seen.add(trial.identity)
        if trial.fitness is not None:
            self.told.append(trial)
