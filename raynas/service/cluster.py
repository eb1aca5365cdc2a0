"""Searches as jobs of a Ray cluster."""

import tempfile
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import raynas
from raynas.results.database import database, shown
from raynas.results.results import Results
from raynas.run.folders import JOB, STORE, check_name, store_of, was_driven_by
from raynas.run.folders import home as home_of
from raynas.service.door import knock
from raynas.service.fetch import install, sent
from raynas.service.future import OVER, Future
from raynas.service.inline import Inline
from raynas.service.jobs import Job, RayJob, answered, is_search, job_of, send
from raynas.service.local import Local
from raynas.service.order import CONFIG, Order, order, spec_asked
from raynas.service.packing import LIMIT_MB, Package, look, megabytes, pack
from raynas.tables import InputError, nearest

LET_GO_S = 60  # between SIGTERM and SIGKILL; Ray's 3 s are too few to let go of trials


class Cluster:
    """A Ray cluster that takes searches as jobs; they go on when this process ends."""

    def __init__(
        self,
        address: str,
        *,
        home: str | Path | None = None,
        data_dir: str | Path | None = None,
        store: str | None = None,
        working_dir: str | Path = ".",
        to: str | Path | None = None,
        limit_mb: float = LIMIT_MB,
        allow_open: bool = False,
        any_version: bool = False,
    ):
        """`home` (where experiments live) and `data_dir` are as the cluster names them; a `home` on a disk that this machine
        shares under the same path is read in place, others are fetched to `to` [./runs or $RAYNAS_HOME]."""
        self.door = knock(address, allow_open=allow_open, any_version=any_version)
        self.client: Any = self.door.client
        self.address, self.home, self.data_dir, self.store = self.door.address, home, data_dir, store
        self.working_dir, self.to, self.limit_mb, self.any_version = working_dir, to, limit_mb, any_version

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
        """Start a search, with the arguments of `raynas.search` that an Experiment holds; returns at once. The working
        directory travels, datasets do not."""
        return self.submit_spec(spec_asked(space, trainable, data, trials, epochs, settings), name)

    def submit_spec(self, spec: Mapping[str, Any], name: str | None = None, package: Package | None = None) -> Future:
        """Start the search that a spec describes; of the name and spec of one that was stopped, it goes on."""
        made = order(spec, name=name, home=self.home, data_dir=self.data_dir, store=self.store)
        self._free(made)
        package = package or look(self.working_dir, self.limit_mb)
        id = f"{made.name}-{uuid.uuid4().hex[:8]}"
        expected = None if self.any_version else raynas.__version__
        with tempfile.TemporaryDirectory() as folder, answered():
            archive = Path(folder) / "job.zip"
            size = pack(package, {CONFIG: made.config}, archive)
            if size > self.limit_mb * 1e6:
                raise InputError(
                    f"the packed working directory is {megabytes(size)}; at most {self.limit_mb:g} MB travel"
                )
            job = {
                "entrypoint": made.entrypoint(expected),
                "submission_id": id,
                "runtime_env": {
                    "working_dir": str(archive),
                    "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(LET_GO_S), JOB: id},
                },
                "metadata": {
                    "raynas": raynas.__version__,
                    "experiment": made.name,
                    "home": made.home,
                    "store": made.store or "",
                },
            }
            send(self.client, job)
        return Future(made.name, id, RayJob(self.client, id, self.fetch))

    def _free(self, made: Order) -> None:
        """Raise InputError when the experiment is running as another job, said before it is found out there."""
        for job in self.jobs():
            if job.name == made.name and job.home == made.home and job.state not in OVER:
                raise InputError(
                    f"'{made.name}' is {job.state} as the job '{job.id}'; choose another name, or stop it first"
                )

    def jobs(self) -> list[Job]:
        """The searches among the cluster's jobs, oldest first."""
        with answered():
            found = self.client.list_jobs()
        return sorted((job_of(details) for details in found if is_search(details)), key=lambda job: job.started or 0.0)

    def job(self, given: str) -> Future:
        """The future of a job, by its id or by its experiment's name (then the latest)."""
        found = self._find(given)
        return Future(found.name, found.id, RayJob(self.client, found.id, self.fetch))

    def _find(self, given: str) -> Job:
        jobs = self.jobs()
        for job in reversed(jobs):
            if given in (job.id, job.name):
                return job
        known = [job.id for job in jobs]
        there = f" Known: {', '.join(known)}" if known else " It has none of raynas."
        raise InputError(f"the cluster has no job '{given}'.{nearest(given, known)}{there}")

    def fetch(self, given: str, to: str | Path | None = None) -> Results:
        """The results of a job, also while it runs: read where they are, in the database or on a disk that is shared, or
        fetched to the folder `to`/NAME by a small job that prints them."""
        job = self._find(given)  # what it says of itself was written by whoever may submit there
        check_name(job.name)  # it becomes a folder's name here
        target = home_of(to or self.to) / job.name
        if job.store:
            where = store_of(target, self.store)
            if isinstance(where, Path):
                raise InputError(
                    f"the trials of '{job.name}' are in '{shown(database(job.store))}', says the job; if that is a database that "
                    "your password may go to, name it: --store (or $RAYNAS_STORE, store=)"
                )
            return Results(where)
        in_place = Path(job.home) / job.name
        if to is None and in_place.is_absolute() and was_driven_by(in_place, job.id) and (in_place / STORE).is_file():
            return Results(in_place / STORE)
        return install(sent(self.client, job), target)

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: Any) -> None:
        pass


def cluster(
    address: str | None = None,
    *,
    home: str | Path | None = None,
    data_dir: str | Path | None = None,
    store: str | None = None,
    working_dir: str | Path = ".",
    to: str | Path | None = None,
    limit_mb: float = LIMIT_MB,
    allow_open: bool = False,
    any_version: bool = False,
    in_process: bool = False,
) -> "Cluster | Local | Inline":
    """Where searches can be sent, shaped like an executor of concurrent.futures: the cluster whose dashboard is at `address`,
    processes of this machine (None), or this very process, one after the other, before `submit` returns (`in_process`).
    `with raynas.cluster(address) as c: c.submit("genome_cnn", data="mnist").result()`"""
    if in_process:
        if address is not None:
            raise InputError(f"a search runs in this process or at '{address}', not both")
        return Inline(home=home, data_dir=data_dir, store=store)
    if address is None:
        return Local(home=home, data_dir=data_dir, store=store, working_dir=working_dir)
    return Cluster(
        address,
        home=home,
        data_dir=data_dir,
        store=store,
        working_dir=working_dir,
        to=to,
        limit_mb=limit_mb,
        allow_open=allow_open,
        any_version=any_version,
    )
