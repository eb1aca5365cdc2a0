"""`resources.gpu: auto`: the share of a GPU that a candidate asks for, from the memory that the largest ones take."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raynas.objectives import broken
from raynas.rng import stream
from raynas.run.nodes import Node, nodes
from raynas.run.places import on_each
from raynas.tables import InputError
from raynas.train.memory import Peak, estimated_memory, look, peak_memory
from raynas.train.share import CONTEXT, Share

if TYPE_CHECKING:
    from raynas.data.store import Shared
    from raynas.run.plan import Plan

SHARES = (0.125, 0.25, 0.5, 1.0)  # few sizes, so that processes can be reused
MARGIN = 1.25  # over the peak: fragments, and kernels that another network picks

SAMPLES, MEASURED = 32, 5  # candidates looked at on the meta device, and of these the largest that are measured
GIB = 2**30


@dataclass(frozen=True)
class Sharing:
    """The `gpu` share chosen, and why: `peak_bytes` of the largest of `candidates` that were measured (or `estimated`)
    against `free_bytes` of the GPU that has the least, a `device`. One GPU on each of `nodes` was looked at, of `gpus` that
    they have: those of one node are taken to be alike."""

    gpu: float
    peak_bytes: int = 0
    free_bytes: int = 0
    candidates: int = 0
    estimated: bool = False
    device: str = ""
    nodes: int = 1
    gpus: int = 1

    def __str__(self) -> str:
        if not self.candidates:
            return "gpu: auto is 0: this Ray has no GPU"
        how = "estimated" if self.estimated else "measured"
        of = "memory of the node a GPU (Ray counts GPUs that CUDA does not see)" if self.estimated else self.device
        least = f", the least of {self.nodes} nodes" if self.nodes > 1 else ""
        alike = " (one GPU a node was looked at)" if self.gpus > self.nodes and not self.estimated else ""
        return (
            f"gpu: auto is {self.gpu:g}: the largest of {self.candidates} candidates that were looked at takes "
            f"{self.peak_bytes / GIB:.2f} GiB ({how}), of {self.free_bytes / GIB:.1f} GiB {of}{least}{alike}"
        )

    def row(self) -> dict[str, float]:
        """As it is stored with the resources of every trial."""
        return {"peak_bytes": self.peak_bytes, "free_bytes": self.free_bytes} if self.candidates else {}


def share_for(peak: int, free: int, context: int = CONTEXT) -> float | None:
    """The smallest share of a GPU with `free` bytes that holds a process of this peak, None when even all of it does not.
    All processes that share the GPU fit into what is free."""
    needed = peak * MARGIN + context
    return next((share for share in SHARES if share * free >= needed), None)


def candidates(plan: "Plan", count: int) -> list[dict[str, Any]]:
    """Sampled configs within the limits, those first that need most memory by the meta device."""
    assert plan.dataset is not None
    sampled = [plan.space.sample(stream(plan.experiment.seed, 3, number)) for number in range(SAMPLES)]
    kept = [config for config in sampled if not broken(plan.limits, plan.cost(config) or {})] or sampled
    training = plan.experiment.training.model_dump()

    def size(config: dict[str, Any]) -> int:
        try:
            return estimated_memory(config, plan.dataset, training)  # type: ignore[arg-type]
        except Exception:  # a model that the meta device cannot hold: it is measured like the others
            return 0

    return sorted(kept, key=size, reverse=True)[:count]


def measured_share(plan: "Plan", there: list[Node] | None = None) -> Sharing:
    """Choose the share on the connected Ray. Raises InputError where no candidate would fit."""
    there = nodes() if there is None else there
    with_gpus = [node for node in there if node.gpu >= 1]
    if plan.table is not None or not with_gpus:
        return Sharing(0.0)
    cpu = plan.experiment.resources.cpu
    with_gpus = [node for node in with_gpus if node.room(cpu, SHARES[0])] or with_gpus  # others run no trials
    configs = candidates(plan, MEASURED)
    return decide(with_gpus, _measured(plan, with_gpus, configs), len(configs))


def decide(with_gpus: list[Node], peaks: list[list[Peak]], count: int) -> Sharing:
    """The share, from what was found on each node (of `count` candidates on one of them at least): it holds the largest peak
    wherever it was met, in the smallest free memory of all."""
    least = min(
        ((_free(node, found), found[0]) for node, found in zip(with_gpus, peaks, strict=True)),
        key=lambda pair: pair[0],
    )
    free, decisive = least
    needed = max(peak.needed for found in peaks for peak in found)
    share = share_for(needed, free, 0 if decisive.estimated else CONTEXT)
    if share is None:
        on = "" if decisive.estimated else f", a {decisive.device},"
        raise InputError(
            f"a candidate takes {needed / GIB:.2f} GiB, and a GPU{on} has {free / GIB:.2f} GiB free; lower "
            "training.batch_size, or limit the networks (limits: memory_mb <= …)"
        )
    gpus = sum(int(node.gpu) for node in with_gpus)
    return Sharing(share, needed, free, count, decisive.estimated, decisive.device, len(with_gpus), gpus)


def _free(node: Node, found: list[Peak]) -> int:
    """Bytes of the node's GPU that trials may take; where CUDA sees none, the node's memory for each that Ray counts."""
    return round(node.memory / node.gpu) if found[0].estimated else min(peak.free for peak in found)


def _measured(plan: "Plan", with_gpus: list[Node], configs: list[dict[str, Any]]) -> list[list[Peak]]:
    """Peaks on each of the nodes. All candidates are measured on the first, one after the other in one process: two at once
    would see each other's memory. On the others what is free, and where the device is another one the largest candidate."""
    import ray

    from raynas.data.store import share as put

    assert plan.dataset is not None
    cpu, training, shared = plan.experiment.resources.cpu, plan.experiment.training.model_dump(), put(plan.dataset)
    task = ray.remote(num_cpus=cpu, num_gpus=SHARES[0], max_retries=0)(_peaks)

    def asked(configs: list[dict[str, Any]], device: str) -> Callable[[Any], Any]:
        return lambda place: task.options(scheduling_strategy=place).remote(shared, configs, training, device)

    first, *others = with_gpus
    (all_of_them,) = on_each([first], cpu, SHARES[0], asked(configs, ""))
    largest = max(range(len(configs)), key=lambda number: all_of_them[number].needed)
    device = all_of_them[0].device
    found: list[list[Peak]] = [
        all_of_them,
        *on_each(others, cpu, SHARES[0], asked([configs[largest]], device)),
    ]
    return found


def _peaks(shared: "Shared", configs: list[dict[str, Any]], training: dict[str, Any], known: str) -> list[Peak]:
    """Runs on a node with a GPU: the configs' peaks, or only what is free where the device is the `known` one."""
    from raynas.data.store import fetch

    device = Share(1.0, 1.0).device()
    here = look(device)
    if here.device == known:
        return [here]
    dataset = fetch(shared)
    return [peak_memory(config, dataset, training, device) for config in configs]
