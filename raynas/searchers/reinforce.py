"""Policy gradient without a network (REINFORCE, Williams, 1992): one categorical a decision, a moving average as baseline.

The controller of the NAS-Bench-201 comparison (Dong & Yang, 2020): independent decisions, Adam on their logits.
"""

from typing import Annotated, Any

import numpy as np
from pydantic import Field
from ray.tune.search.sample import Domain

from raynas.objectives import Trial
from raynas.rng import stream
from raynas.space import Config, Space, kinds

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
BINS = 16  # of a decision that has more values


def _count(domain: Domain) -> int:
    size = kinds.size(domain)
    return int(size) if size <= BINS else BINS


def _value(domain: Domain, choice: int) -> Any:
    return kinds.decode(domain, (choice + 0.5) / _count(domain))


def _choice(domain: Domain, value: Any) -> int:
    return min(int(kinds.encode(domain, value) * _count(domain)), _count(domain) - 1)


class Reinforce:
    """`lr` of Adam (Kingma & Ba, 2015; .9, .999); `decay` of the baseline, whose start is corrected for. A decision of more
    than 16 values is made in 16 even steps of its range. A trial that failed has the worst fitness so far."""

    def __init__(
        self,
        space: Space,
        seed: int,
        *,
        lr: Rate = 0.1,
        decay: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    ):
        self.space, self.seed, self.lr, self.decay, self.asked, self.told = space, seed, lr, decay, 0, 0
        self.flat = space.flat()
        rng = stream(seed, 0)
        self.logits = {name: 1e-3 * rng.normal(size=_count(domain)) for name, domain in self.flat.items()}
        self.first = {name: np.zeros_like(logits) for name, logits in self.logits.items()}
        self.second = {name: np.zeros_like(logits) for name, logits in self.logits.items()}
        self.average, self.worst = 0.0, 0.0
        self.origin: dict[str, Any] = {}

    def policy(self, name: str) -> np.ndarray:
        """The probabilities of a decision."""
        exponents = np.exp(self.logits[name] - self.logits[name].max())
        return exponents / exponents.sum()

    def ask(self) -> Config:
        self.asked += 1
        rng = stream(self.seed, self.asked)
        drawn = {name: int(rng.choice(len(self.logits[name]), p=self.policy(name))) for name in self.flat}
        self.origin = {"operator": "policy"}
        return self.space.unflat({name: _value(self.flat[name], choice) for name, choice in drawn.items()})

    def tell(self, trial: Trial) -> None:
        if trial.fitness is None and self.told == 0:
            return  # nothing to compare a failure with
        reward = self.worst if trial.fitness is None else trial.fitness
        self.worst = reward if self.told == 0 else min(self.worst, reward)
        self.told += 1
        self.average = self.decay * self.average + (1 - self.decay) * reward
        advantage = reward - self.average / (1 - self.decay**self.told)
        for name, value in self.space.flatten(trial.config).items():
            chosen = np.zeros_like(self.logits[name])
            chosen[_choice(self.flat[name], value)] = 1.0
            self._ascend(name, advantage * (chosen - self.policy(name)))  # d log pi / d logits = chosen - pi

    def _ascend(self, name: str, gradient: np.ndarray) -> None:
        self.first[name] = 0.9 * self.first[name] + 0.1 * gradient
        self.second[name] = 0.999 * self.second[name] + 0.001 * gradient**2
        first, second = self.first[name] / (1 - 0.9**self.told), self.second[name] / (1 - 0.999**self.told)
        self.logits[name] = self.logits[name] + self.lr * first / (np.sqrt(second) + 1e-8)
