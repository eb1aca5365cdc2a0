"""Places for probes: the resources of a trial, reserved, and waited for aloud while others hold them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from raynas.run.nodes import Node, nodes
from raynas.run.progress import note
from raynas.tables import InputError

PATIENCE_S = 15.0  # before what is waited for is said, and again after twice as long each time
RARELY_S = 600.0
LOOK_S = 1  # Ray counts whole seconds here


class Waiting:
    """For a trial's `cpu` and `gpu`, on one `node` or on any. With `on_demand` a node that has them may yet come."""

    def __init__(self, cpu: float, gpu: float, node: Node | None = None, on_demand: bool = False):
        self.cpu, self.gpu, self.node, self.on_demand = cpu, gpu, node, on_demand
        self.pause = PATIENCE_S
        self.due = time.monotonic() + self.pause
        self.look()

    def look(self) -> None:
        """Raises InputError where no node that is there could ever give it; says now and then that it is waited for."""
        there = [node for node in nodes() if self.node is None or node.id == self.node.id]
        ever = any(node.room(self.cpu, self.gpu) for node in there)
        what = f"{self.cpu:g} cpu and {self.gpu:g} gpu on {self.node.address if self.node else 'this Ray'}"
        if not ever and not self.on_demand:
            raise InputError(
                f"no node that is there could ever give {what}: {'; '.join(map(str, there)) or 'it is gone'}"
            )
        if time.monotonic() >= self.due:
            note(f"waiting for {what}: {'others hold them' if ever else 'no node that is there has them'}")
            self.pause = min(2 * self.pause, RARELY_S)
            self.due = time.monotonic() + self.pause


def _reserve(cpu: float, gpu: float, count: int = 1, node: Node | None = None) -> Any:
    """Resources of `count` trials on one node, all or none of them. Nobody waits for some while holding others, so two who
    wait cannot wait for each other."""
    from ray.util.placement_group import placement_group

    bundle = {"CPU": cpu, **({"GPU": gpu} if gpu else {})}
    pinned = None if node is None else [{"ray.io/node-id": node.id}] * count
    return placement_group([bundle] * count, strategy="STRICT_PACK", bundle_label_selector=pinned)


def _remove(group: Any) -> None:
    from ray.util.placement_group import remove_placement_group

    remove_placement_group(group)


def _place(group: Any, index: int) -> Any:
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    return PlacementGroupSchedulingStrategy(group, index)


@contextmanager
def places(cpu: float, gpu: float, most: int, node: Node | None = None, on_demand: bool = False) -> Iterator[list[Any]]:
    """`most` places for trials of this size on one node, as scheduling strategies of Ray, all held for the time of the
    block. Where others hold some for long, half as many, and half again; one is waited for without end."""
    count = most
    while True:
        waiting = Waiting(cpu, gpu, node, on_demand)
        until = waiting.due if count > 1 else float("inf")
        group = _reserve(cpu, gpu, count, node)
        try:
            while not (held := group.wait(LOOK_S)) and time.monotonic() < until:
                waiting.look()
            if held:
                yield [_place(group, index) for index in range(count)]
                return
        finally:
            _remove(group)
        note(f"others hold some of the room for {count} trials at once; trying {count // 2}")
        count //= 2


def on_each(there: Sequence[Node], cpu: float, gpu: float, start: Callable[[Any], Any]) -> list[Any]:
    """What a task says on each of the nodes, in their order. `start` starts it with a scheduling strategy of Ray and returns
    its reference; it runs as soon as its node has `cpu` and `gpu` free."""
    import ray
    from ray.util.placement_group import placement_group_table

    waitings = [Waiting(cpu, gpu, node) for node in there]
    groups: dict[int, Any] = {}
    found: dict[int, Any] = {}
    try:
        for number, node in enumerate(there):
            groups[number] = _reserve(cpu, gpu, 1, node)
        asked = {start(_place(group, 0)): number for number, group in groups.items()}
        while asked:
            done, _ = ray.wait(list(asked), timeout=LOOK_S)
            for reference in done:
                number = asked.pop(reference)
                found[number] = ray.get(reference)
                _remove(groups.pop(number))
            for number, group in groups.items():
                if placement_group_table(group)["state"] != "CREATED":
                    waitings[number].look()
    finally:
        for group in groups.values():
            _remove(group)
    return [found[number] for number in range(len(there))]
