"""Those who hear of trials beside the store. What one of them makes of it never decides what a search does."""

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from raynas.objectives import Trial
from raynas.results import Asked, Heard, Told


@dataclass(frozen=True)
class Subject:
    """Which experiment is tracked: its name, its folder, and a `key` that no other of this name has."""

    name: str
    folder: Path
    key: str


class Tracker(Protocol):
    """Hears of every trial that is trained, and of those that a limit refused; not of twins, which the store answers."""

    def missing(self, record: Mapping[int, Trial]) -> set[int]:
        """The numbers of those trials on record that it is to be told again from the first report on, because it has them
        not or not whole: it forgets what it has of them."""
        ...

    def start(self, trial: Trial) -> None:
        """A trial is handed out; again when its process was lost."""
        ...

    def hear(self, trial: Trial, epoch: int, fitness: float, metrics: dict[str, Any]) -> None:
        """A report; every epoch of a trial once."""
        ...

    def end(self, trial: Trial) -> None:
        """A trial is done, stopped, failed or refused; one refused beforehand was never started."""
        ...

    def close(self) -> None:
        """The session ends; what is still under way may go on in another."""
        ...


class Audience:
    """Trackers by name. One that raises is left out from then on, with a note: a search outlives its dashboards."""

    def __init__(self, trackers: Mapping[str, Tracker]):
        self.trackers = dict(trackers)

    def replay(self, history: list[Asked | Heard | Told]) -> None:
        """Tell each tracker what is on record and it does not have."""
        trials = {event.trial.number: event.trial for event in history if isinstance(event, Asked)}
        own = {number: trial for number, trial in trials.items() if trial.duplicate_of is None}

        def tell_again(tracker: Tracker) -> None:
            missing = tracker.missing(own)
            for event in history:
                number = event.number if isinstance(event, Heard) else event.trial.number
                if number not in missing:
                    continue
                if isinstance(event, Heard):
                    tracker.hear(own[number], event.epoch, event.fitness, event.metrics)
                elif isinstance(event, Told):
                    tracker.end(own[number])
                elif own[number].curve or own[number].state == "failed":
                    tracker.start(own[number])

        self._each(tell_again)

    def start(self, trial: Trial) -> None:
        self._each(lambda tracker: tracker.start(trial))

    def hear(self, trial: Trial, epoch: int, fitness: float, metrics: dict[str, Any]) -> None:
        self._each(lambda tracker: tracker.hear(trial, epoch, fitness, metrics))

    def end(self, trial: Trial) -> None:
        self._each(lambda tracker: tracker.end(trial))

    def close(self) -> None:
        self._each(lambda tracker: tracker.close())

    def _each(self, tell: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            try:
                tell(tracker)
            except Exception as error:
                del self.trackers[name]
                with suppress(Exception):
                    tracker.close()
                said = (str(error).strip().splitlines() or [""])[0]
                print(f"note: no longer tracked by {name}: {type(error).__name__}: {said}", file=sys.stderr, flush=True)
