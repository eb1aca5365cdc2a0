"""Where experiments live: one folder each, with its store, checkpoints and Ray's log."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raynas.results import Store
from raynas.results.results import Results
from raynas.run.plan import Plan, differences
from raynas.tables import InputError, nearest

STORE = "store.db"


def home(given: str | Path | None = None) -> Path:
    """Where experiments live: the argument, $RAYNAS_HOME, or `runs` in the working directory."""
    return Path(given or os.environ.get("RAYNAS_HOME") or "runs").expanduser()


def experiments(given: str | Path | None = None) -> list[str]:
    """The names of the experiments that are there."""
    return sorted(path.parent.name for path in home(given).glob(f"*/{STORE}"))


def open_results(name: str | Path, home_dir: str | Path | None = None) -> Results:
    """The results of an experiment, by name, folder or store file. Works while it runs."""
    path = Path(name)
    for candidate in (home(home_dir) / path / STORE, path / STORE, path):
        if candidate.is_file():
            results = Results(candidate)
            results.experiment  # noqa: B018 -- says at once when the file is no store
            return results
    known = experiments(home_dir)
    hint = nearest(str(name), known) if known else ""
    there = f" Known: {', '.join(known)}" if known else ""
    raise InputError(f"there is no experiment '{name}' in '{home(home_dir)}'.{hint}{there}")


def folder_for(name: str | None, plan: Plan, spec: dict[str, Any], home_dir: Path) -> tuple[Path, bool]:
    """The experiment's folder, and whether it goes on with what is there."""
    if name is None:
        base = "-".join(
            str(part) for part in (_short(plan), plan.experiment.search["name"].split(":")[-1], plan.experiment.seed)
        )
        names = [base, *(f"{base}-{number}" for number in range(2, 10_000))]
        return next(home_dir / item for item in names if not (home_dir / item).exists()), False
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(f"an experiment's name is letters, digits, '.', '_' and '-', got '{name}'")
    folder = home_dir / name
    if not (folder / STORE).exists():
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"'{folder}' is there already and holds no experiment; choose another name")
        return folder, False
    store = Store.open(folder / STORE)
    there = store.experiment()["spec"]
    store.close()
    different = differences(there, spec)
    if different:
        raise InputError(
            f"experiment '{name}' exists with another spec (it differs in {', '.join(different)}); choose another name, "
            f"or go on with it: raynas resume {name}"
        )
    return folder, True


def _short(plan: Plan) -> str:
    """A name for what is searched on what."""
    given = plan.experiment.space
    space = re.sub(r"[^A-Za-z0-9_]+", "_", Path(given.split(":")[-1]).stem) if isinstance(given, str) else "space"
    source = plan.experiment.data or plan.experiment.trainable or ""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", Path(source.split(":")[-1]).stem).strip("_")
    return f"{space}-{name}" if name else space


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One driver an experiment: the lock goes with the process, however that ends."""
    with open(folder / "driver.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"experiment '{folder.name}' is running in another process") from error
        yield
