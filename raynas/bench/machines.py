"""Several Ray nodes on one machine, each with an address of its own and pretended GPUs, and what ran where."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from raynas.run.cluster import connected

QUICK_TO_MISS = {"health_check_period_ms": 1000, "health_check_initial_delay_ms": 0}  # a killed node is missed in 5 s
STORE_BYTES = 100 * 2**20
TRIES = 5  # Ray gives a node 30 s to start, which is little on a busy machine


def add_node(cluster: Any, number: int, cpus: int = 4, gpus: int = 1) -> Any:
    """One more node, at 127.0.0.NUMBER; returns Ray's handle of its processes."""
    return _in_time(
        lambda: cluster.add_node(
            num_cpus=cpus,
            num_gpus=gpus,
            node_ip_address=f"127.0.0.{number}",
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
        )
    )


def _head() -> Any:
    """A cluster of a head that runs no trials; without the processes that none of this needs."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    cluster.add_node(
        num_cpus=0,
        num_gpus=0,
        object_store_memory=STORE_BYTES,
        include_dashboard=False,
        include_log_monitor=False,
        no_monitor=True,
        _system_config=QUICK_TO_MISS,
    )
    return cluster


def _in_time(start: Callable[[], Any]) -> Any:
    """What starts a node, again where it took too long."""
    for _ in range(TRIES - 1):
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    return start()


@contextmanager
def machines(nodes: int, cpus: int = 4, gpus: int = 1) -> Iterator[Any]:
    """A head that runs no trials and `nodes` nodes at 127.0.0.2, 127.0.0.3, …, joined by this process."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    cluster = _in_time(_head)
    try:
        for number in range(nodes):
            add_node(cluster, number + 2, cpus, gpus)
        with connected(cluster.address):
            yield cluster
    finally:
        cluster.shutdown()


def alive() -> dict[str, dict[str, Any]]:
    """Ray's record of each living node, by its address."""
    import ray

    return {node["NodeManagerAddress"]: node for node in ray.nodes() if node["Alive"]}


def received() -> dict[str, tuple[int, int]]:
    """Objects and bytes that were ever made in each node's object store, by the node's own count: an object that arrives
    from another node counts there."""
    from ray._private.internal_api import node_stats

    found = {}
    for address, node in alive().items():
        stats = node_stats(address, node["NodeManagerPort"], include_memory_info=False).store_stats
        found[address] = int(stats.cumulative_created_objects), int(stats.cumulative_created_bytes)
    return found


def busiest(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The most trials at once on each node. A trial surely trained in the `seconds` before its end was written; the next
    one in its place begins after that."""
    moments: dict[str, list[tuple[float, int]]] = {}
    for row in rows:
        moments.setdefault(row["node"], []).extend([(row["ended"] - row["seconds"], 1), (row["ended"], -1)])
    most = {}
    for node, steps in moments.items():
        at_once = most[node] = 0
        for _, step in sorted(steps):
            at_once += step
            most[node] = max(most[node], at_once)
    return most


def utilisation(rows: Sequence[Mapping[str, Any]], slots: int) -> float:
    """Seconds of training over the seconds that the slots were there, from the first trial's first second to the last end."""
    first, last = min(row["ended"] - row["seconds"] for row in rows), max(row["ended"] for row in rows)
    return float(sum(row["seconds"] for row in rows) / (slots * (last - first)))
