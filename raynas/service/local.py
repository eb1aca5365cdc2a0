"""Searches in processes of this machine, with the face of a cluster."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from raynas.results.results import Results
from raynas.run.folders import home, open_results
from raynas.service.future import Future
from raynas.service.order import CONFIG, order, spec_asked


class Process:
    """A search in a process of its own, that ends by SIGTERM as a cluster's job does."""

    def __init__(
        self,
        name: str,
        arguments: list[str],
        folder: Path,
        working_dir: Path,
        read: Callable[[], Results],
        variables: Mapping[str, str],
    ):
        self.name, self.read, self.path, self.stopped = name, read, folder / "log", False
        self.last: str | None = None  # the whole log, when its file is about to go
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        with open(self.path, "wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "raynas", *arguments],
                cwd=working_dir,
                env={**os.environ, **variables, "PYTHONPATH": os.pathsep.join(path for path in paths if path)},
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C here is none there
            )

    def state(self) -> str:
        code = self.process.poll()
        if code is None:
            return "running"
        return "stopped" if self.stopped and code else "done" if code == 0 else "failed"

    def log(self) -> str:
        return self.last if self.last is not None else self._read_log()

    def end(self) -> None:
        """Wait for its end; the log is kept in memory from then on."""
        self.process.wait()
        self.last = self._read_log()

    def _read_log(self) -> str:
        return self.path.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        self.stopped = True
        self.process.send_signal(signal.SIGTERM)

    def results(self) -> Results:
        return self.read()


class Local:
    """Runs searches on this machine, each in a process of its own; leaving the block waits for them."""

    def __init__(
        self,
        *,
        home: str | Path | None = None,
        data_dir: str | Path | None = None,
        store: str | None = None,
        working_dir: str | Path = ".",
    ):
        self.home, self.data_dir, self.store, self.working_dir = home, data_dir, store, Path(working_dir).resolve()
        self._folder = tempfile.TemporaryDirectory(prefix="raynas-")
        self.futures: list[Future] = []
        self._running: list[Process] = []

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
        """Start a search, with the arguments of `raynas.search` that an Experiment holds; returns at once."""
        return self.submit_spec(spec_asked(space, trainable, data, trials, epochs, settings), name)

    def submit_spec(self, spec: dict[str, Any], name: str | None = None) -> Future:
        """Start the search that a spec describes."""
        here = home(self.home).resolve()
        made = order(spec, name=name, home=here, data_dir=self.data_dir, store=self.store, far=False)
        number = len(self.futures)
        folder = Path(self._folder.name) / str(number)
        folder.mkdir()
        (folder / CONFIG).write_text(made.config, encoding="utf-8")
        process = Process(
            made.name,
            replace(made, store=None).arguments(
                str(folder / CONFIG), None
            ),  # every user can list commands: no password there
            folder,
            self.working_dir,
            lambda: open_results(made.name, here, self.store),
            {} if made.store is None else {"RAYNAS_STORE": made.store},
        )
        self._running.append(process)
        self.futures.append(Future(made.name, f"local-{process.process.pid}", process, every_s=0.2))
        return self.futures[-1]

    def jobs(self) -> list[Future]:
        """What was submitted here, oldest first."""
        return list(self.futures)

    def __enter__(self) -> "Local":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        for process in self._running:
            if kind is not None and process.state() == "running":
                process.stop()
            process.end()
        self._folder.cleanup()
