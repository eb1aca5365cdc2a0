"""What became of a training on several workers that did not end by itself: Ray Train's exceptions as a kind of failure."""

import traceback
from collections.abc import Iterator

from raynas.objectives import Diverged, Failure
from raynas.train.trainable import kind_of_failure

# what those say who lose their connection to a worker: it has died, for one whose code raised keeps its connections
CUT_OFF = ("Connection closed by peer", "Connection reset by peer", "ncclRemoteError")
NEVER_BEGAN = "raised in its creation task"  # of every worker that is started so


def failure_of(error: BaseException) -> tuple[Failure, str]:
    """The kind of failure that `fit` of Ray Train raised `error` for, and what to tell of it.

    "diverged" when one worker's network did; "lost" when a worker or its node died, whatever the others say of it; else
    what the code of a worker raised.
    """
    causes = list(_causes(error))
    diverged = next((cause for cause in causes if isinstance(cause, Diverged)), None)
    if diverged is not None:
        return "diverged", str(diverged)
    dead = next((cause for cause in causes if _is_death(cause)), None)
    own = next((cause for cause in causes if not _is_cut_off(cause)), None)
    cause = dead or own or causes[0]
    kind = "lost" if dead or not own else kind_of_failure(cause)
    return kind, _text(error, cause)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What raised, without what Ray has wrapped around it."""
    wrapped = _wrapped(error)
    if not wrapped:
        yield error
    for inner in wrapped:
        yield from _causes(inner)


def _wrapped(error: BaseException) -> list[BaseException]:
    from ray.exceptions import RayTaskError
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
    from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

    if isinstance(error, WorkerGroupError):
        return list(error.worker_failures.values())
    if isinstance(error, ControllerError):
        return [error.controller_failure]
    if isinstance(error, WorkerHealthCheckFailedError):
        return [error.health_check_failure]
    return [error.cause] if isinstance(error, RayTaskError) else []


def _is_death(cause: BaseException) -> bool:
    """Whether it says that a worker, its process or its node, is gone or never came."""
    from ray import exceptions as ray
    from ray.train.v2._internal import exceptions as train

    if NEVER_BEGAN in str(cause):
        return False
    died = (ray.RayActorError, ray.NodeDiedError, ray.WorkerCrashedError, ray.LocalRayletDiedError, ray.RpcError)
    # Ray kills to free a node's memory
    taken = (ray.OutOfMemoryError, ray.ObjectLostError, ray.ActorPlacementGroupRemoved)
    silent = (train.WorkerHealthCheckTimeoutError, train.WorkerGroupStartupTimeoutError)
    return isinstance(cause, (*died, *taken, *silent, train.WorkerGroupStartupFailedError))


def _is_cut_off(cause: BaseException) -> bool:
    return isinstance(cause, RuntimeError) and any(sign in str(cause) for sign in CUT_OFF)


def _text(error: BaseException, cause: BaseException) -> str:
    """All that Ray Train says, the workers' tracebacks with it; the last line is the cause's."""
    from ray.train.v2.api.exceptions import TrainingFailedError

    if not isinstance(error, TrainingFailedError):
        return "".join(traceback.format_exception(error)).strip()
    said, last = str(error).strip(), "".join(traceback.format_exception_only(cause)).strip()
    return said if said.endswith(last) else f"{said}\n{last}"
