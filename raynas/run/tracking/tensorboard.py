"""TensorBoard: one folder a trial, below one of the search's name."""

import os
from collections.abc import Mapping
from pathlib import Path

from ray.tune.logger import TBXLoggerCallback

from raynas.objectives import Trial
from raynas.run.plan import Plan
from raynas.run.tracking.audience import Subject
from raynas.run.tracking.callbacks import Through
from raynas.run.tracking.names import numbered
from raynas.tables import InputError

MARK = "raynas-search.txt"  # says whose folder it is


def check(directory: str) -> None:
    """Raise InputError when `directory` cannot be written to or made."""
    path = Path(directory).expanduser().resolve()
    there = next(place for place in (path, *path.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"'{there}' is no folder that can be written to")


class TensorBoard(Through):
    """Reports of an unfinished trial are written anew when the search goes on."""

    def __init__(self, directory: str, subject: Subject, plan: Plan):
        root = Path(directory).expanduser().resolve()
        folder = next(root / name for name in numbered(subject.name) if _is_free(root / name, subject.key))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).write_text(subject.key)
        super().__init__(TBXLoggerCallback(), subject.name, subject.key, folder)

    def path(self, number: int) -> Path:
        return self.folder / f"{number:05d}"

    def missing(self, record: Mapping[int, Trial]) -> set[int]:
        missing = {number for number, trial in record.items() if not (trial.ended and self.path(number).exists())}
        for number in missing:
            for file in self.path(number).glob("events.out.tfevents.*"):
                file.unlink()
        return missing


def _is_free(folder: Path, key: str) -> bool:
    """Whether `folder` is not there yet, or this search's own."""
    mark = folder / MARK
    return not folder.exists() or (mark.is_file() and mark.read_text() == key)
