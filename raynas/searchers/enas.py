"""ENAS's controller as a searcher (Pham et al., 2018; without shared weights it is Zoph & Le, 2017): an LSTM proposes child
networks, and what they reach is its reward.

The policy gradient is REINFORCE's (Williams, 1992) with a moving average as baseline and a bonus for entropy; `passes` over
the `memory` latest trials keep to the clipped surrogate of PPO (Schulman et al., 2017, eq. 7), as the controllers of
NASNet were trained (Zoph et al., 2018). A ratio is that of one decision: the 78 of a macro network together move by several
nats in one step, and all would be clipped. Ratios are to the policy as an update begins, not to the one that drew a trial:
what is remembered is learnt again. With passes = 1 and memory = batch it is REINFORCE itself, where no trial is late.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from raynas.models.controller import Controller, MacroController, MicroController, Policy, Squash
from raynas.objectives import Trial
from raynas.rng import seed_at, stream
from raynas.searchers.decisions import Decisions
from raynas.space import Config, Space
from raynas.space.macro import Macro
from raynas.space.micro_cell import MicroCell

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SURROGATE = 0.2  # how far from 1 a ratio of probabilities is worth while
RUNAWAY = 3.0  # beyond this ratio a bad trial is not pushed away further (Ye et al., 2020: dual clip)
NORM = 1.0  # largest gradient norm


class Enas:
    """Every `batch` trials that are told, in whatever order, the controller learns from the `memory` latest. The reward of a
    trial is the share of all told that it beats, to the power `sharpness`; the baseline is the moving average of rewards
    (`decay`). `entropy` is what the largest entropy would be worth. A trial that failed beats none."""

    def __init__(
        self,
        space: Space,
        seed: int,
        *,
        lr: Positive = 0.01,
        batch: Count = 5,
        passes: Count = 5,
        memory: Count = 20,
        sharpness: Positive = 3.0,
        decay: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        entropy: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.3,
        temperature: Positive | None = None,
        tanh_constant: Positive | None = 2.5,
        hidden: Count = 64,
    ):
        self.space, self.seed, self.asked = space, seed, 0
        self.batch, self.passes, self.memory = batch, passes, max(memory, batch)
        self.sharpness, self.decay, self.entropy = sharpness, decay, entropy
        self.decisions = Decisions(space)
        self.most = max(sum(map(math.log, self.decisions.counts)), 1.0)  # the largest entropy there is, in nats
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_at(seed, 0))
            self.controller = _controller(space, self.decisions.counts, Squash(temperature, tanh_constant), hidden)
        self.optimizer = torch.optim.Adam(self.controller.parameters(), lr=lr)
        self.told: list[tuple[list[int], float]] = []  # choices and fitness; a failure's is -inf
        self.average = 0.0
        self.origin: dict[str, Any] = {}

    def ask(self) -> Config:
        self.asked += 1
        uniforms = stream(self.seed, self.asked).random((1, len(self.decisions.counts)))
        with _one_thread():
            choices = self.controller.sample(torch.as_tensor(uniforms))
        self.origin = {"operator": "policy", "update": len(self.told) // self.batch}
        return self.decisions.config(choices[0].tolist())

    def tell(self, trial: Trial) -> None:
        fitness = float("-inf") if trial.fitness is None else trial.fitness
        self.told.append((self.decisions.choices(trial.config), fitness))
        if len(self.told) % self.batch == 0:
            with _one_thread():
                self._learn()

    def rewards(self) -> Tensor:
        """Of all that were told, (n,) in [0, 1]; ties beat half of each other."""
        values = torch.tensor([fitness for _, fitness in self.told], dtype=torch.float64)
        below = (values[None, :] < values[:, None]).sum(dim=1)
        equal = (values[None, :] == values[:, None]).sum(dim=1)
        return (((below + 0.5 * equal) / len(values)) ** self.sharpness).float()

    def _learn(self) -> None:
        rewards = self.rewards()
        for reward in rewards[-self.batch :].tolist():
            self.average = self.decay * self.average + (1 - self.decay) * reward
        baseline = self.average / (1 - self.decay ** len(self.told))
        choices = torch.tensor([choices for choices, _ in self.told[-self.memory :]])
        advantages = rewards[-self.memory :] - baseline
        before: Tensor | None = None
        for _ in range(self.passes):
            walk = self.controller.walk(choices)
            log_probs = walk.log_probs()
            before = log_probs.detach() if before is None else before
            gain = surrogate(log_probs - before, advantages[:, None]).sum(dim=1)
            gain = gain + self.entropy * walk.entropy() / self.most
            self.optimizer.zero_grad()
            (-gain.mean()).backward()
            torch.nn.utils.clip_grad_norm_(self.controller.parameters(), NORM)
            self.optimizer.step()


def _controller(space: Space, counts: list[int], squash: Squash, hidden: int) -> Policy:
    """The published factorisation where the space is one of ENAS's, else one softmax a decision. Its bias towards separable
    convolutions is left out: it would rule out cells of little else, whatever they reach."""
    domains = list(space.domains.values())
    cells = [domain for domain in domains if isinstance(domain, MicroCell)]
    if cells and len(cells) == len(domains) and len({cell.operations for cell in cells}) == 1:
        return MicroController(cells, squash=squash, hidden=hidden, op_tanh_reduce=1.0, prior=False)
    if len(domains) == 1 and isinstance(domains[0], Macro):
        return MacroController(domains[0], squash=squash, hidden=hidden)
    return Controller(counts, squash=squash, hidden=hidden)


def surrogate(log_ratios: Tensor, advantages: Tensor) -> Tensor:
    """PPO's clipped gain of each decision; where the policy has not moved, its gradient is advantage * d log pi."""
    ratios = log_ratios.clamp(max=math.log(RUNAWAY)).exp()
    return torch.minimum(ratios * advantages, ratios.clamp(1 - SURROGATE, 1 + SURROGATE) * advantages)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The matrices are small, and trials may be training beside it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
