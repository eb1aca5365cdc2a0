"""A cluster's jobs, as Ray Jobs knows them."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from raynas.results.results import Results
from raynas.service.order import HOME
from raynas.tables import InputError

STATES = {"PENDING": "queued", "RUNNING": "running", "SUCCEEDED": "done", "FAILED": "failed", "STOPPED": "stopped"}
PATIENCE_S = 60


@dataclass(frozen=True)
class Job:
    """A job of the cluster that is a search of raynas; moments in seconds since 1970."""

    id: str
    name: str
    state: str
    message: str
    started: float | None
    ended: float | None
    raynas: str
    home: str
    store: str


class RayJob:
    """The run behind a future."""

    def __init__(self, client: Any, id: str, fetch: Callable[[str], Results] | None = None):
        self.client, self.id, self.fetch = client, id, fetch

    def state(self) -> str:
        with answered():
            return STATES[str(self.client.get_job_status(self.id).value)]

    def log(self) -> str:
        with answered():
            return str(self.client.get_job_logs(self.id))

    def stop(self) -> None:
        with answered():
            self.client.stop_job(self.id)

    def results(self) -> Results:
        assert self.fetch is not None
        return self.fetch(self.id)


def send(client: Any, job: Mapping[str, Any]) -> None:
    """Submit a job; a cluster that has just started has no agent for it yet, and is asked again for a while."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            client.submit_job(**job)
            return
        except RuntimeError as error:
            if "No available agent" not in str(error):
                raise
            if time.monotonic() > until:
                raise InputError(
                    f"no node of the cluster takes jobs: for {PATIENCE_S} s the head's dashboard agent has not come up. Is its port taken by "
                    "another Ray on that machine (--dashboard-agent-listen-port)? dashboard_agent.log there says why"
                ) from error
            time.sleep(1)


def is_search(details: Any) -> bool:
    return details.submission_id is not None and "raynas" in (details.metadata or {})


def job_of(details: Any) -> Job:
    said = details.metadata
    started, ended = ((at / 1000 if at else None) for at in (details.start_time, details.end_time))
    return Job(
        id=details.submission_id,
        name=said.get("experiment", ""),
        state=STATES[str(details.status.value)],
        message=details.message or "",
        started=started,
        ended=ended,
        raynas=said["raynas"],
        home=said.get("home", HOME),
        store=said.get("store", ""),
    )


@contextmanager
def answered() -> Iterator[None]:
    """What goes wrong on the way to a cluster's jobs, as one clear error."""
    import requests
    from ray.exceptions import RayError

    try:
        yield
    except InputError:
        raise
    except requests.exceptions.RequestException as error:
        raise InputError(f"the cluster does not answer any more: {type(error).__name__}") from error
    except (RuntimeError, ValueError, RayError) as error:
        raise InputError(f"the cluster refused: {str(error).strip().splitlines()[0].rstrip('.')}") from error
