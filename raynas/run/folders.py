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
from raynas.results.database import InDatabase, Where, database, database_of, names_in, shown
from raynas.results.results import Results
from raynas.run.experiment import Experiment
from raynas.run.plan import Plan, differences
from raynas.settings import check
from raynas.tables import InputError, nearest

STORE, LOCK = "store.db", "driver.lock"
JOB = "RAYNAS_JOB"  # the environment variable that says which job of a cluster a driver is


def home(given: str | Path | None = None) -> Path:
    """Where experiments live: the argument, $RAYNAS_HOME, or `runs` in the working directory."""
    return Path(given or os.environ.get("RAYNAS_HOME") or "runs").expanduser()


def store_of(folder: Path, store: Any = None) -> Where:
    """Where the store of the experiment in `folder` is: a file there, or its rows in the database `store` (a URL) or
    $RAYNAS_STORE."""
    given = store or os.environ.get("RAYNAS_STORE")
    return InDatabase(database(given), folder.name, folder) if given else folder / STORE


def experiments(given: str | Path | None = None, store: str | None = None) -> list[str]:
    """The names of the experiments that are there."""
    url = database_of(store_of(home(given), store))
    if url is not None:
        return names_in(url)
    return sorted(path.parent.name for path in home(given).glob(f"*/{STORE}"))


def open_results(name: str | Path, home_dir: str | Path | None = None, store: str | None = None) -> Results:
    """The results of an experiment, by name, folder or store file. Works while it runs. With `store` (or $RAYNAS_STORE), the
    URL of a database, those of the experiment of this name in it."""
    path = Path(name)
    url = database_of(store_of(home(home_dir), store))
    if url is not None and not (path.is_file() or (path / STORE).is_file()):
        return _open_in(url, str(name), home(home_dir))
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


def _open_in(url: Any, name: str, home_dir: Path) -> Results:
    known = names_in(url)
    search, _, row = name.rpartition("/")
    if search in known and re.fullmatch(r"verify-\d+", row):
        results = Results(InDatabase(url, search, home_dir / search), row)
        results.experiment  # noqa: B018
        return results
    if name not in known:
        there = f" Known: {', '.join(known)}" if known else ""
        raise InputError(f"there is no experiment '{name}' in '{shown(url)}'.{nearest(name, known)}{there}")
    return Results(InDatabase(url, name, home_dir / name))


def claim(
    name: str | None, plan: Plan, row: dict[str, Any], home_dir: Path, store: str | None = None
) -> tuple[Path, dict[str, Any] | None]:
    """The folder of a new experiment with its store made, there or in a database, or that of the one of this name and spec;
    and the spec that this one is to have from now on, None for its own. A folder is made by one driver only: two that start at once get two names, or one of them an
    error."""
    if name is not None:
        return _claim_named(name, row, home_dir, store)
    base = "-".join(
        str(part) for part in (_short(plan), plan.experiment.search["name"].split(":")[-1], plan.experiment.seed)
    )
    number = 1
    while True:
        folder = home_dir / (base if number == 1 else f"{base}-{number}")
        if _create(folder, row, store):
            return folder, None
        number += 1


def _create(folder: Path, row: dict[str, Any], store: str | None) -> bool:
    """Make the folder and its store; False when the folder is there already, or the name in the database."""
    where = store_of(folder, store)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except FileExistsError:
        if not folder.parent.is_dir():
            raise InputError(f"cannot write the store: '{folder.parent}' is no folder") from None
        return False
    except OSError as error:
        raise InputError(f"cannot write the store '{where}': {error}") from error
    try:
        Store.create(where, {**row, "name": folder.name}).close()
    except FileExistsError:  # in the database, from another home
        folder.rmdir()
        return False
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return True


def _claim_named(
    name: str, row: dict[str, Any], home_dir: Path, store: str | None
) -> tuple[Path, dict[str, Any] | None]:
    folder = home_dir / name
    check_name(name)
    if _create(folder, row, store):
        return folder, None
    where = store_of(folder, store)
    if isinstance(where, Path) and not where.exists():
        raise InputError(f"'{folder}' is there already and holds no experiment; choose another name")
    if not isinstance(where, Path) and name not in names_in(where.url):
        raise InputError(
            f"'{folder}' is there already, and '{shown(where.url)}' has no experiment '{name}'; choose another name"
        )
    found = Store.open(where)
    there = found.experiment()
    found.close()
    different = differences({**_filled(there["spec"]), "track": row["spec"].get("track")}, row["spec"])
    if (there["data"] or {}).get("digest") != (row["data"] or {}).get("digest"):
        different.append("the data itself")
    if different and os.environ.get(JOB) and all(_is_more(key, there["spec"], row["spec"]) for key in different):
        # nobody can say `raynas resume` to a job, so more of the same is said by its spec
        return folder, {**there["spec"], "budget": row["spec"]["budget"]}
    if different:
        raise InputError(
            f"experiment '{name}' exists with another spec (it differs in {', '.join(different)}); choose another name, "
            f"or go on with it: raynas resume {name}"
        )
    return folder, None


def _is_more(key: str, old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether a spec differs in this by a larger part of the budget."""
    section, _, part = key.partition(".")
    if section != "budget":
        return False
    before, now = (spec["budget"].get(part) for spec in (old, new))
    return before is not None and now is not None and now >= before


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
    """One driver an experiment: the lock goes with the process, however that ends. Its file keeps which jobs held it."""
    folder.mkdir(parents=True, exist_ok=True)  # a database knows experiments that began in another home
    with open(folder / LOCK, "a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"experiment '{folder.name}' is running in another process") from error
        except OSError as error:
            raise InputError(
                f"the disk of '{folder}' has no file locks ({error.strerror}), which keep two drivers apart: mount it with them "
                "(Lustre: -o flock), or put --home on another"
            ) from error
        if job := os.environ.get(JOB):
            file.write(f"{job}\n")
            file.flush()
        yield


def was_driven_by(folder: Path, job: str) -> bool:
    """Whether the experiment in `folder` is that of a cluster's job: this machine may have another of the same name there."""
    try:
        return job in (folder / LOCK).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
