"""Where experiments live: one folder each, with its store, checkpoints and Ray's log."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raynas.results import Store
from raynas.results.results import Results
from raynas.run.experiment import Experiment
from raynas.run.plan import Plan, differences
from raynas.settings import check
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
    for folder in (home(home_dir) / path.parent, path.parent):  # NAME/verify-1
        if re.fullmatch(r"verify-\d+", path.name) and (folder / STORE).is_file():
            results = Results(folder / STORE, path.name)
            results.experiment  # noqa: B018
            return results
    known = experiments(home_dir)
    hint = nearest(str(name), known) if known else ""
    there = f" Known: {', '.join(known)}" if known else ""
    raise InputError(f"there is no experiment '{name}' in '{home(home_dir)}'.{hint}{there}")


def claim(name: str | None, plan: Plan, row: dict[str, Any], home_dir: Path) -> tuple[Path, bool]:
    """The folder of a new experiment with its store in it, or that of the one of this name and spec; and whether it was
    there. A folder is made by one driver only: two that start at once get two names, or one of them an error."""
    if name is not None:
        return _claim_named(name, row, home_dir)
    base = "-".join(
        str(part) for part in (_short(plan), plan.experiment.search["name"].split(":")[-1], plan.experiment.seed)
    )
    number = 1
    while True:
        folder = home_dir / (base if number == 1 else f"{base}-{number}")
        if _create(folder, row):
            return folder, False
        number += 1


def _create(folder: Path, row: dict[str, Any]) -> bool:
    """Make the folder and its store; False when the folder is there already."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except FileExistsError:
        if not folder.parent.is_dir():
            raise InputError(f"cannot write the store: '{folder.parent}' is no folder") from None
        return False
    except OSError as error:
        raise InputError(f"cannot write the store '{folder / STORE}': {error}") from error
    try:
        Store.create(folder / STORE, {**row, "name": folder.name}).close()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return True


def _claim_named(name: str, row: dict[str, Any], home_dir: Path) -> tuple[Path, bool]:
    folder = home_dir / name
    check_name(name)
    if _create(folder, row):
        return folder, False
    if not (folder / STORE).exists():
        raise InputError(f"'{folder}' is there already and holds no experiment; choose another name")
    store = Store.open(folder / STORE)
    there = store.experiment()
    store.close()
    different = differences({**_filled(there["spec"]), "track": row["spec"].get("track")}, row["spec"])
    if (there["data"] or {}).get("digest") != (row["data"] or {}).get("digest"):
        different.append("the data itself")
    if different:
        raise InputError(
            f"experiment '{name}' exists with another spec (it differs in {', '.join(different)}); choose another name, "
            f"or go on with it: raynas resume {name}"
        )
    return folder, True


def _filled(spec: dict[str, Any]) -> dict[str, Any]:
    """A stored spec with the defaults of settings that are younger than it."""
    try:
        return {**check(Experiment, spec, "experiment").model_dump(mode="json"), **spec}
    except InputError:
        return spec


def check_name(name: str | None) -> None:
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(f"an experiment's name is letters, digits, '.', '_' and '-', got '{name}'")


def _short(plan: Plan) -> str:
    """A name for what is searched on what."""
    given = (plan.experiment.oneshot or {}).get("space", plan.experiment.space)
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
