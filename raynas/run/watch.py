"""The cluster while a search runs on it: nodes come and go, so what fits is looked up again and again."""

import time
from collections import Counter
from collections.abc import Callable

from raynas.run.cluster import grant
from raynas.run.experiment import Resources
from raynas.tables import InputError

EVERY_S = 1.0  # a look asks the head node, a few ms


class Watch:
    """How many trials fit at once, and what the nodes are called; looks again when it is asked and `EVERY_S` have passed.

    `given` is what a trial gets, its share of a GPU settled: nodes that come later change how many run, not what each has.
    """

    def __init__(self, given: Resources, clock: Callable[[], float] = time.monotonic):
        self.given, self.clock = given, clock
        self.looked = -EVERY_S
        self.room, self.hosts = 1, Counter[str]()

    def slots(self) -> int:
        """Trials at once; 1 while no node is left that could run one, which waits for a node to come."""
        self._look()
        return self.room

    def name(self, host: str, ip: str) -> str:
        """A node in the store: its host name, with its address where several nodes have that name."""
        self._look()
        return f"{host}/{ip}" if self.hosts[host] > 1 else host

    def _look(self) -> None:
        if self.clock() - self.looked < EVERY_S:
            return
        import ray

        self.hosts = Counter(node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"])
        try:
            self.room = grant(self.given)[1]
        except InputError:
            self.room = 1
        self.looked = self.clock()
