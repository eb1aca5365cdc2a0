"""How a search goes on in time, in units of one whole training: simulated, without a network and without Ray."""

import math
import statistics
from dataclasses import dataclass

import numpy as np

from raynas.data.tabular import Table
from raynas.objectives import OBJECTIVES
from raynas.rng import stream
from raynas.run.plan import Plan
from raynas.run.simulate import Simulator
from raynas.searchers import SEARCHERS
from raynas.settings import construct
from raynas.space import read

SIMULATED, SEEDS = 200, 5  # trials of a simulated search at most, and how many of them


@dataclass(frozen=True)
class Course:
    """`kept`: the share of all epochs that is trained. `tail`: by how much the last slot is busy longer than all are on
    average; None where every trial is trained to its end, one after the other."""

    kept: float = 1.0
    tail: float | None = None

    def span(self, trials: float, slots: int) -> float:
        """From the first trial's start to the last one's end, for trials of one pace."""
        if self.tail is None:
            return max(1.0, float(math.ceil(trials / slots - 1e-9)))  # whole waves
        return max(1.0, self.kept * trials / slots + self.tail)  # the best trial is trained to its end


def course(plan: Plan, trials: int, slots: int, epochs: int) -> Course:
    """The experiment's scheduler on trials of one pace whose order is the same at every epoch: the best stay the best. Real
    curves cross, and then a little more is trained or less."""
    name = plan.experiment.stop["name"]
    if name == "none":
        return Course()
    if name == "pbt":  # it changes trials and stops none; they take turns, so that no slot waits long for the last
        return Course(1.0, 0.0)
    trials = min(trials, max(SIMULATED, slots))
    shares, tails = [], []
    for seed in range(SEEDS):
        steps, seconds = _simulated(plan, trials, slots, epochs, seed)
        shares.append(steps / (trials * epochs))
        tails.append((seconds - steps / slots) / epochs)
    return Course(statistics.fmean(shares), statistics.fmean(tails))


def _simulated(plan: Plan, trials: int, slots: int, epochs: int, seed: int) -> tuple[int, float]:
    """Epochs that are trained, and when the last trial ends, an epoch taking a second."""
    space = read({"number": {"randint": [0, max(2, trials)]}})
    objective = construct(OBJECTIVES["metric"], {"metric": "quality"}, "objective")
    quality = stream(seed, 5).permutation(max(2, trials)).astype(float)
    table = Table(
        name="curves that never cross",
        find=lambda config: int(config["number"]),
        epochs=tuple(range(1, epochs + 1)),
        metrics={"quality": quality[:, None] + np.linspace(0.0, 0.5, epochs)},
        seconds=np.tile(np.arange(1.0, epochs + 1), (max(2, trials), 1)),
        parameters=space.spec(),
    )
    searcher = construct(SEARCHERS["grid"], {}, "search", space, seed)
    run = Simulator(table, space, searcher, objective, plan.scheduler(), workers=slots, trials=trials).run()
    return run.steps, run.ended[-1][0]
