"""Searches in this very process, with the face of a cluster."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas.results.results import Results
from raynas.run.drive import SearchFailed
from raynas.run.folders import open_results
from raynas.run.launch import search
from raynas.service.future import Future


@dataclass(frozen=True)
class Over:
    """A search that has run: what it printed, and how its results are read."""

    ended: str
    printed: str
    read: Callable[[], Results]

    def state(self) -> str:
        return self.ended

    def log(self) -> str:
        return self.printed

    def stop(self) -> None:
        """There is nothing to stop."""

    def results(self) -> Results:
        return self.read()


class Inline:
    """Runs each search before `submit` returns: for a debugger, a notebook, and what cannot travel to another process: arrays,
    functions of a script. Ctrl-C stops the search, resumably, and its future says so."""

    def __init__(
        self,
        *,
        home: str | Path | None = None,
        data_dir: str | Path | None = None,
        store: str | None = None,
    ):
        self.home, self.data_dir, self.store = home, data_dir, store
        self.futures: list[Future] = []

    def submit(
        self,
        space: Any,
        trainable: Callable[..., Any] | str | None = None,
        *,
        data: Any = None,
        trials: int | None = None,
        epochs: int | None = None,
        name: str | None = None,
        **settings: Any,
    ) -> Future:
        """Run a search, with the arguments of `raynas.search`; returns when it is over, however it ended."""
        settings |= {"home": self.home, "data_dir": self.data_dir, "store": self.store, "name": name}
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            try:
                made = search(space, trainable, data=data, trials=trials, epochs=epochs, **settings).name
                ended = "done"
            except SearchFailed as error:
                printed.write(f"{error}\n")
                made, ended = error.name, "failed"
            except KeyboardInterrupt as interrupt:
                if not interrupt.args:
                    raise  # a second Ctrl-C, or one before the search had begun
                made, ended = interrupt.args[0], "stopped"
        over = Over(ended, printed.getvalue(), lambda: open_results(made, self.home, self.store))
        self.futures.append(Future(made, f"inline-{len(self.futures) + 1}", over))
        return self.futures[-1]

    def jobs(self) -> list[Future]:
        """What was submitted here, oldest first."""
        return list(self.futures)

    def __enter__(self) -> "Inline":
        return self

    def __exit__(self, *_: Any) -> None:
        pass
