"""Ray's schedulers that pause trials, driven without Ray: who runs, who waits, who is stopped while it waits."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray.tune.experiment import Trial as Status
from ray.tune.schedulers import TrialScheduler

logging.getLogger("ray.tune.schedulers.hyperband").setLevel(logging.WARNING)  # it says when a bracket is too small


@dataclass(eq=False)
class _Seat:
    """What these schedulers use of a trial."""

    number: int
    trial_id: str
    status: str = Status.PENDING
    is_saving: bool = False


class Turns:
    """Trials by number behind `inner`, for which it stands as Tune's controller. `stopped` hears of each that is stopped
    while it waits."""

    def __init__(self, inner: TrialScheduler, stopped: Callable[[int], None]):
        self.inner, self.stopped = inner, stopped
        self.seats: dict[int, _Seat] = {}

    def add(self, number: int) -> None:
        self.seats[number] = _Seat(number, f"{number:05d}")
        self.inner.on_trial_add(self, self.seats[number])

    def choose(self) -> int | None:
        """Whose turn it is; None when all that are left run already or wait for others."""
        seat = self.inner.choose_trial_to_run(self)
        if seat is None:
            return None
        seat.status = Status.RUNNING
        number: int = seat.number
        return number

    def result(self, number: int, said: dict[str, Any]) -> str:
        """What becomes of a running trial after a report: TrialScheduler.CONTINUE, PAUSE or STOP."""
        seat = self.seats[number]
        action: str = self.inner.on_trial_result(self, seat, said)
        if action != TrialScheduler.CONTINUE:
            seat.status = Status.PAUSED if action == TrialScheduler.PAUSE else Status.TERMINATED
        return action

    def complete(self, number: int, said: dict[str, Any]) -> None:
        self.seats[number].status = Status.TERMINATED
        self.inner.on_trial_complete(self, self.seats[number], said)

    def fail(self, number: int) -> None:
        self.seats[number].status = Status.ERROR
        self.inner.on_trial_error(self, self.seats[number])

    def stop_trial(self, seat: _Seat) -> None:
        """Called by the scheduler."""
        seat.status = Status.TERMINATED
        self.inner.on_trial_remove(self, seat)
        self.stopped(seat.number)
