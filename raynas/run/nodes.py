"""The nodes of the connected Ray: a trial lives on one of them, so what fits is counted node by node."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

ROUNDING = 1e-9


@dataclass(frozen=True)
class Node:
    """What a node gives to trials."""

    cpu: float
    gpu: float = 0.0
    memory: float = 0.0  # bytes, as the next
    object_store: float = 0.0
    id: str = ""  # Ray's, in hexadecimal
    address: str = ""

    def __str__(self) -> str:
        return f"{self.cpu:g} CPU and {self.gpu:g} GPU"

    def room(self, cpu: float, gpu: float) -> int:
        """How many trials of this size fit at once. A trial lives on one GPU: 0.4 of one fits twice, not two and a half
        times."""
        if cpu > self.cpu + ROUNDING or gpu > self.gpu + ROUNDING:
            return 0
        by_cpu = math.floor(self.cpu / cpu + ROUNDING)
        if not gpu:
            return by_cpu
        a_gpu = math.floor(1 / gpu + ROUNDING)
        return min(by_cpu, a_gpu * int(self.gpu) if gpu <= 1 else int(self.gpu // gpu))


def nodes() -> list[Node]:
    """The nodes that are there."""
    import ray

    return [_node(node) for node in ray.nodes() if node["Alive"]]


def _node(record: dict[str, Any]) -> Node:
    cpu, gpu, memory, store = (
        float(record["Resources"].get(name, 0.0)) for name in ("CPU", "GPU", "memory", "object_store_memory")
    )
    return Node(cpu, gpu, memory, store, record["NodeID"], record["NodeManagerAddress"])


def slots(there: Iterable[Node], cpu: float, gpu: float) -> int:
    """How many trials of this size run at once. Those without a GPU may run on any node, those with one only where GPUs are."""
    return sum(node.room(cpu, gpu) for node in there)


def largest(there: Iterable[Node], gpu: float) -> Node:
    """The node that comes nearest to a trial: the one with most GPUs where it wants some, else with most CPUs."""
    return max(there, key=lambda node: (node.gpu, node.cpu) if gpu else (node.cpu, node.gpu), default=Node(0.0))
