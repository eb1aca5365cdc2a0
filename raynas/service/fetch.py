"""Results of a job that are on no disk of this machine: a small job prints them."""

import shlex
import shutil
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from raynas.results import Store
from raynas.results.results import Results
from raynas.run.folders import STORE
from raynas.service.future import OVER
from raynas.service.jobs import Job, RayJob, answered, send
from raynas.service.parcel import unwrap
from raynas.tables import InputError

PATIENCE_S = 300


def sent(client: Any, job: Job) -> str:
    """What the job prints that sends the experiment of another."""
    id = f"fetch-{job.name}-{uuid.uuid4().hex[:8]}"
    command = ["exec", "python", "-m", "raynas.service.parcel", job.name, "--home", job.home]
    with answered():
        send(client, {"entrypoint": shlex.join(command), "submission_id": id})
    run, until = RayJob(client, id), time.monotonic() + PATIENCE_S
    while (state := run.state()) not in OVER and time.monotonic() < until:
        time.sleep(0.5)
    text = run.log()
    with answered():
        if state in OVER:
            client.delete_job(id)
        else:
            client.stop_job(id)
    if state != "done":
        last = text.strip().splitlines()[-1] if text.strip() else "no word of why"
        raise InputError(f"the cluster did not send '{job.name}' ({state}): {last}")
    return text


def install(text: str, target: Path) -> Results:
    """The experiment that was sent, in the folder `target`, in place of what an earlier fetch brought of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetched-", dir=target.parent) as folder:
        new = Path(folder) / "new"
        unwrap(text, new)
        there = target / STORE
        if target.exists() and not (there.is_file() and _created(new / STORE) == _created(there)):
            raise InputError(f"'{target}' is there already and is another experiment; fetch to another folder: --to")
        if target.exists():
            brought = set(_holds(new / STORE))
            if lost := [what for what in _holds(there) if what not in brought]:
                more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
                raise InputError(
                    f"'{target}' holds what was made here ({', '.join(lost[:3])}{more}) and would be lost; fetch to another folder: --to"
                )
            _replace(target, new)
        else:
            new.rename(target)
    return Results(target / STORE)


def _replace(target: Path, new: Path) -> None:
    """Put `new` where `target` is. What was there is deleted last of all: until then it is in its place or beside it."""
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-before-", dir=target.parent))
    old = aside / target.name
    try:
        target.rename(old)
        new.rename(target)
    except BaseException:
        if not target.exists():
            old.rename(target)
        aside.rmdir()
        raise
    shutil.rmtree(aside)


def _holds(path: Path) -> list[str]:
    """Verifications and trials of a store, in their order."""
    store = Store.open(path)
    try:
        return [*store.others(), *(f"trial {number}" for number in range(sum(store.counts().values())))]
    finally:
        store.close()


def _created(path: Path) -> Any:
    store = Store.open(path)
    try:
        return store.experiment()["created"]
    finally:
        store.close()
