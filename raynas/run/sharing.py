"""`resources.gpu: auto`: the share of a GPU that a candidate asks for, from the memory that the largest ones take."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raynas.objectives import broken
from raynas.rng import stream
from raynas.run.nodes import Node, nodes
from raynas.tables import InputError
from raynas.train.memory import Peak, estimated_memory, peak_memory
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
    against `free_bytes` of a GPU."""

    gpu: float
    peak_bytes: int = 0
    free_bytes: int = 0
    candidates: int = 0
    estimated: bool = False
    device: str = ""

    def __str__(self) -> str:
        if not self.candidates:
            return "gpu: auto is 0: this Ray has no GPU"
        how = "estimated" if self.estimated else "measured"
        of = "memory of the node a GPU (Ray counts GPUs that CUDA does not see)" if self.estimated else self.device
        return (
            f"gpu: auto is {self.gpu:g}: the largest of {self.candidates} candidates takes "
            f"{self.peak_bytes / GIB:.2f} GiB ({how}), of {self.free_bytes / GIB:.1f} GiB {of}"
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
    assert plan.dataset is not None
    from raynas.data.store import share as put

    configs = candidates(plan, MEASURED)
    peaks = _measured(put(plan.dataset), configs, plan.experiment.training.model_dump(), plan.experiment.resources.cpu)
    largest = max(peaks, key=lambda peak: peak.needed)
    if largest.estimated:
        free, context = round(min(node.memory / node.gpu for node in with_gpus)), 0
    else:
        free, context = min(peak.free for peak in peaks), CONTEXT
    share = share_for(largest.needed, free, context)
    if share is None:
        raise InputError(
            f"a candidate takes {largest.needed / GIB:.2f} GiB, and a GPU has {free / GIB:.2f} GiB free; lower "
            "training.batch_size, or limit the networks (limits: memory_mb <= …)"
        )
    return Sharing(share, largest.needed, free, len(configs), largest.estimated, largest.device)


def _measured(shared: "Shared", configs: list[dict[str, Any]], training: dict[str, Any], cpu: float) -> list[Peak]:
    """The peaks of the configs, one after the other in one process: two at once would see each other's memory."""
    import ray

    task = ray.remote(num_cpus=cpu, num_gpus=SHARES[0], max_retries=0)(_peaks)
    found: list[Peak] = ray.get(task.remote(shared, configs, training))
    return found


def _peaks(shared: "Shared", configs: list[dict[str, Any]], training: dict[str, Any]) -> list[Peak]:
    """Runs on a node with a GPU."""
    from raynas.data.store import fetch

    device = Share(1.0, 1.0).device()
    dataset = fetch(shared)
    return [peak_memory(config, dataset, training, device) for config in configs]
