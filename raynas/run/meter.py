"""What of `budget.gpu_hours` is used: what trials reported, what those that run have used since, and what they still will."""

import time
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable
from itertools import accumulate

HOUR = 3600.0


class Meter:
    """Seconds of trials that each hold `gpus` GPUs, against a budget of `gpu_hours` (None: no end).

    A trial's time counts from when it runs, not from its first report: many long epochs under way would otherwise be
    found out too late. `clock` is in seconds.
    """

    def __init__(self, gpu_hours: float | None, gpus: float, clock: Callable[[], float] = time.monotonic):
        self.budget_s = None if gpu_hours is None or gpus <= 0 else gpu_hours * HOUR
        self.gpus, self.clock = gpus, clock
        self.known_s = 0.0  # GPU seconds on record: of all sessions
        self.used: dict[int, float] = {}  # seconds of the trials that are not over, on record
        self.since: dict[int, float] = {}  # of those that run: up to when their time is on record
        self.lengths: list[float] = []  # seconds of the trials that are over, in order of size

    def recall(self, number: int, seconds: float, gpus: float, over: bool) -> None:
        """A trial of an earlier session, which held `gpus`."""
        self.known_s += seconds * gpus
        if not over:
            self.used[number] = seconds
        elif seconds:
            insort(self.lengths, seconds)

    def start(self, number: int) -> None:
        self.since[number] = self.clock()
        self.used.setdefault(number, 0.0)

    def running(self, numbers: Iterable[int]) -> None:
        """Which trials run now, where some of those that were started wait or are paused: their clock stands."""
        now = set(numbers)
        self.since = {number: since for number, since in self.since.items() if number in now}
        for number in now - set(self.since):
            self.start(number)

    def hear(self, number: int, seconds: float) -> None:
        """A report: what it says takes the place of what the clock said."""
        self._record(number, seconds)
        if number in self.since:
            self.since[number] = self.clock()

    def stop(self, number: int, over: bool) -> float:
        """The trial runs no more; what it did not report counts, unless it is `over` with its last report. Returns its
        seconds so far."""
        began = self.since.pop(number, None)
        if began is not None and not over:
            self._record(number, self.clock() - began)
        return self.used.get(number, 0.0)

    def forget(self, number: int) -> None:
        """The trial has ended: how long it took says what others will take."""
        seconds = self.used.pop(number, 0.0)
        if seconds:
            insort(self.lengths, seconds)

    def _record(self, number: int, seconds: float) -> None:
        self.used[number] = self.used.get(number, 0.0) + seconds
        self.known_s += seconds * self.gpus

    @property
    def spent_s(self) -> float:
        """GPU seconds used by now, those of unfinished epochs too."""
        now = self.clock()
        return self.known_s + self.gpus * sum(now - since for since in self.since.values())

    @property
    def used_up(self) -> bool:
        return self.budget_s is not None and self.spent_s >= self.budget_s

    def taken(self, pace: Callable[[int], float]) -> bool:
        """Whether what is left will be needed by the trials that run; then no other starts. `pace` is what is left of a
        trial by its own reports, for one that has outlasted all that are over."""
        if self.budget_s is None:
            return False
        now, ends = self.clock(), self.lengths
        sums = [0.0, *accumulate(reversed(ends))]  # of the longest so many
        expected = 0.0
        for number in self.since:
            so_far = self.used[number] + now - self.since[number]
            longer = len(ends) - bisect_right(ends, so_far)
            expected += sums[longer] / longer - so_far if longer else pace(number)
        return self.spent_s + self.gpus * expected >= self.budget_s
