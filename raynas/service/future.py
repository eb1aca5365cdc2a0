"""A search that runs somewhere, shaped like `concurrent.futures.Future`."""

import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as TooLate
from typing import Protocol

from raynas.results.results import Results

OVER = ("done", "failed", "stopped")
LAST_LINES = 15


class JobFailed(RuntimeError):
    """The job ended in failure; the message quotes the end of its log."""


class Run(Protocol):
    """What a future asks of where its search runs."""

    def state(self) -> str: ...  # queued, running, done, failed or stopped
    def log(self) -> str: ...
    def stop(self) -> None: ...
    def results(self) -> Results: ...


class Future:
    """The search `name`, submitted as the job `id`. It goes on when the future is forgotten, or this process ends."""

    def __init__(self, name: str, id: str, run: Run, every_s: float = 1.0):
        self.name, self.id, self._run, self._every_s = name, id, run, every_s

    @property
    def state(self) -> str:
        """queued, running, done, failed or stopped."""
        return self._run.state()

    def running(self) -> bool:
        return self.state == "running"

    def done(self) -> bool:
        """Whether it is over, well or not."""
        return self.state in OVER

    def cancelled(self) -> bool:
        return self.state == "stopped"

    def cancel(self) -> bool:
        """Let go of the search, resumably: what is done is kept, and the same submit of the same name goes on. False when it
        was over already."""
        if self.done():
            return False
        self._run.stop()
        return True

    def logs(self) -> str:
        """What the job has printed so far."""
        return self._run.log()

    def follow(self) -> Iterator[str]:
        """What the job prints, as it does, to its end."""
        seen = 0
        while True:
            over = self.done()  # first: what is printed in between comes with the next look, or this last one
            text = self.logs()
            if len(text) > seen:
                yield text[seen:]
                seen = len(text)
            if over:
                return
            time.sleep(self._every_s)

    def result(self, timeout: float | None = None) -> Results:
        """The results, once it is over; raises concurrent.futures.TimeoutError after `timeout` seconds, CancelledError when it
        was stopped, JobFailed when it failed."""
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self._run.results()

    def exception(self, timeout: float | None = None) -> Exception | None:
        """What `result` would raise, once it is over; None when it went well."""
        until = None if timeout is None else time.monotonic() + timeout
        while (state := self.state) not in OVER:
            if until is not None and time.monotonic() >= until:
                raise TooLate(f"'{self.name}' is {state} after {timeout:g} s")
            time.sleep(self._every_s if until is None else max(0.0, min(self._every_s, until - time.monotonic())))
        if state == "stopped":
            raise CancelledError(f"'{self.name}' was stopped; submit it again by this name to go on")
        if state == "failed":
            last = "\n".join(self.logs().splitlines()[-LAST_LINES:])
            return JobFailed(f"the job '{self.id}' of '{self.name}' failed:\n\n{last}")
        return None

    def results(self) -> Results:
        """The results so far, while it runs or after it was stopped."""
        return self._run.results()

    def __repr__(self) -> str:
        return f"Future('{self.name}', {self.state})"
