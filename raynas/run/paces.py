"""Candidates timed where trials would run, and among as many others as trials would: what they share makes them slower."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas.data.store import Shared, fetch
from raynas.data.store import share as put
from raynas.objectives import broken
from raynas.rng import stream
from raynas.run.cluster import carry
from raynas.run.drive import SearchFailed
from raynas.run.nodes import Node
from raynas.run.places import places
from raynas.run.plan import Plan
from raynas.tables import InputError
from raynas.train.own import OwnTraining
from raynas.train.pace import Pace, Pacing, network_pacing, own_pacing
from raynas.train.share import Share

PROBED = 6  # candidates at least
TOGETHER = 16  # probes at the same time at most
LATE_S = 120.0  # a probe that starts later than others by more is timed without them


def together(there: Sequence[Node], cpu: float, gpu: float, slots: int, trials: int | None) -> int:
    """How many probes are timed at the same time: as many as trials share the node with the most room, up to TOGETHER, and no
    GPU of these half full."""
    room = max((node.room(cpu, gpu) for node in there), default=0)
    count = max(1, min(room, slots, trials or room, TOGETHER))
    a_gpu = math.floor(1 / gpu + 1e-9) if 0 < gpu < 1 else 1
    return count - count % a_gpu if count > a_gpu else count


def probe(plan: Plan, there: Sequence[Node], resources: dict[str, float], most: int) -> tuple[list[Pace], int]:
    """The paces of PROBED candidates or some more, and how many of them were timed at the same time. They are on one node:
    that with the most room."""
    import ray

    cpu, gpu = resources["cpu"], resources["gpu"]
    on_demand = plan.experiment.resources.autoscaled
    node = max(there, key=lambda node: node.room(cpu, gpu))
    pacing = _pacing(plan, Share(cpu, gpu))
    with places(cpu, gpu, most, node if node.room(cpu, gpu) else None, on_demand) as found:
        remote = ray.remote(num_cpus=cpu, num_gpus=gpu)(Prober)
        probers = [remote.options(scheduling_strategy=place).remote(pacing) for place in found]
        configs = sampled(plan, math.ceil(PROBED / len(probers)) * len(probers))
        paces: list[Pace] = []
        for first in range(0, len(configs), len(probers)):
            pairs = list(zip(probers, configs[first:], strict=False))
            warm = [prober.warm.remote(config) for prober, config in pairs]
            ray.wait(warm, num_returns=len(warm), timeout=LATE_S)
            timed = [prober.timed.remote() for prober, _ in pairs]
            asked = [config for _, config in pairs]
            for reference, config in zip(warm, asked, strict=True):
                _found(reference, config)
            paces += [_found(reference, config) for reference, config in zip(timed, asked, strict=True)]
    return paces, len(probers)


def _found(reference: Any, config: dict[str, Any]) -> Any:
    """What a probe says; raises SearchFailed where the candidate failed, with the traceback of the probe."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise error.cause from None
        raise SearchFailed(f"a candidate failed: {config}\n\n{error}", "plan") from None


def sampled(plan: Plan, count: int) -> list[dict[str, Any]]:
    """Candidates within the limits; any, where there are hardly some."""
    configs, number = list[dict[str, Any]](), 0
    while len(configs) < count:
        config = plan.space.sample(stream(plan.experiment.seed, 4, number))
        number += 1
        if number > 100 * count or not broken(plan.limits, plan.cost(config) or {}):
            configs.append(config)
    return configs


@dataclass(frozen=True)
class NetworkProbe:
    """Times the networks of configs on a dataset of the object store."""

    shared: Shared
    training: dict[str, Any]
    share: Share

    def __call__(self, config: dict[str, Any]) -> Pacing:
        yield from network_pacing(config, fetch(self.shared), self.training, self.share.device())


@dataclass(frozen=True)
class OwnProbe:
    """Times a training of the user's own, with a checkpoint folder that is removed afterwards."""

    training: OwnTraining
    share: Share
    epochs: int | None

    def __call__(self, config: dict[str, Any]) -> Pacing:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            yield from own_pacing(self.training, config, Path(folder) / "checkpoint", self.share, self.epochs)


def _pacing(plan: Plan, share: Share) -> NetworkProbe | OwnProbe:
    if plan.function is not None:
        carry(plan.function)
        return OwnProbe(OwnTraining(plan.function), share, own_epochs(plan))
    assert plan.dataset is not None
    return NetworkProbe(put(plan.dataset), plan.experiment.training.model_dump(), share)


def own_epochs(plan: Plan) -> int | None:
    """How many reports a training of the user's own makes, as far as it was said: by the early stopping, or by
    training.epochs, which nothing else reads there."""
    training = plan.experiment.training
    return plan.most_epochs or (training.epochs if "epochs" in training.model_fields_set else None)


class Prober:
    """A process in a trial's place. What it times begins when it is told to, so that several begin together."""

    def __init__(self, pacing: NetworkProbe | OwnProbe):
        self.pacing = pacing
        self.steps: Pacing = iter(())

    def warm(self, config: dict[str, Any]) -> None:
        self.steps = self.pacing(config)
        next(self.steps)

    def timed(self) -> Pace:
        found = next(self.steps)
        assert found is not None
        self.steps = iter(())  # its network goes
        return found
