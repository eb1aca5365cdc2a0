"""Policy gradient without a network (REINFORCE, Williams, 1992): one categorical a decision, a moving average as baseline.

The controller of the NAS-Bench-201 comparison (Dong & Yang, 2020): independent decisions, Adam on their logits.
"""

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from raynas.objectives import Trial
from raynas.rng import stream
from raynas.searchers.decisions import Decisions
from raynas.space import Config, Space

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


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
        self.decisions = Decisions(space)
        rng = stream(seed, 0)
        self.logits = [1e-3 * rng.normal(size=count) for count in self.decisions.counts]
        self.first = [np.zeros_like(logits) for logits in self.logits]
        self.second = [np.zeros_like(logits) for logits in self.logits]
        self.average, self.worst = 0.0, 0.0
        self.origin: dict[str, Any] = {}

    def policy(self, decision: int) -> np.ndarray:
        """The probabilities of a decision's values."""
        exponents = np.exp(self.logits[decision] - self.logits[decision].max())
        return np.asarray(exponents / exponents.sum())

    def ask(self) -> Config:
        self.asked += 1
        rng = stream(self.seed, self.asked)
        counts = self.decisions.counts
        drawn = [int(rng.choice(count, p=self.policy(decision))) for decision, count in enumerate(counts)]
        self.origin = {"operator": "policy"}
        return self.decisions.config(drawn)

    def tell(self, trial: Trial) -> None:
        if trial.fitness is None and self.told == 0:
            return  # nothing to compare a failure with
        reward = self.worst if trial.fitness is None else trial.fitness
        self.worst = reward if self.told == 0 else min(self.worst, reward)
        self.told += 1
        self.average = self.decay * self.average + (1 - self.decay) * reward
        advantage = reward - self.average / (1 - self.decay**self.told)
        for decision, choice in enumerate(self.decisions.choices(trial.config)):
            chosen = np.zeros_like(self.logits[decision])
            chosen[choice] = 1.0
            self._ascend(decision, advantage * (chosen - self.policy(decision)))  # d log pi / d logits = chosen - pi

    def _ascend(self, decision: int, gradient: np.ndarray) -> None:
        self.first[decision] = 0.9 * self.first[decision] + 0.1 * gradient
        self.second[decision] = 0.999 * self.second[decision] + 0.001 * gradient**2
        first, second = self.first[decision] / (1 - 0.9**self.told), self.second[decision] / (1 - 0.999**self.told)
        self.logits[decision] = self.logits[decision] + self.lr * first / (np.sqrt(second) + 1e-8)
