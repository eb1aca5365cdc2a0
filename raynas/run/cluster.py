"""The Ray that runs the trials: joined by address, or started on this machine."""

import inspect
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raynas.run.address import join
from raynas.run.experiment import AUTO, Budget, Experiment, Resources
from raynas.run.nodes import Node, largest, nodes, slots
from raynas.run.sharing import SHARES
from raynas.tables import InputError

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # raynas shows the progress itself
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths in user code mean what they say
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard files: the store has it all
    "TUNE_GLOBAL_CHECKPOINT_S": "100000000",  # no snapshots: resume replays the store
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",  # how many are out is decided in ray_searcher.py, and changes with the nodes
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is handled in launch.py
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial has no fitness
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the time of the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def chatter_to(path: Path) -> Iterator[None]:
    """Send what Ray logs in this process to a file."""
    file = logging.FileHandler(path, delay=True)
    file.addFilter(lambda record: not record.name.startswith("ray.tune.analysis"))  # it misses the files that are off
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("ray")
    handlers, propagate = list(logger.handlers), logger.propagate
    logger.handlers, logger.propagate = [file], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        file.close()


@contextmanager
def connected(address: str | None, **given: Any) -> Iterator[None]:
    """Use the Ray this process is connected to; else join `address`; else start one here, and end it afterwards.

    `given` goes to `ray.init`.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, **given}
    if address is None:
        options |= {"address": "local", "include_dashboard": False}
    else:
        options |= {"address": address}
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)  # its advice on start is not the user's concern
    try:
        join(options)
    finally:
        logger.setLevel(level)
    try:
        yield
    finally:
        ray.shutdown()


def check_grant(experiment: Experiment) -> None:
    """Refuse what the connected Ray cannot give, and a budget that would never end."""
    resources, _ = grant(experiment.resources)
    check_ends(experiment.budget, resources["gpu"])


def check_ends(budget: Budget, gpu: float) -> None:
    """Refuse a budget that would never end where each trial holds `gpu` GPUs."""
    if budget.gpu_hours is not None and not gpu and budget.trials is None and budget.wall_time_s is None:
        raise InputError(
            "budget.gpu_hours alone never ends where trials use no GPU; add budget.trials or budget.wall_time_s"
        )


def carry(function: Callable[..., Any]) -> None:
    """Have the code of a user's module travel with its function: other nodes need not have the file."""
    import ray.cloudpickle

    module = inspect.getmodule(inspect.unwrap(function))
    source = getattr(module, "__file__", None)
    if module is not None and source and "site-packages" not in Path(source).parts:
        ray.cloudpickle.register_pickle_by_value(module)


def grant(wanted: Resources) -> tuple[dict[str, float], int]:
    """What a trial gets on the connected Ray, and how many trials that makes at once."""
    there = nodes()
    gpus = sum(node.gpu for node in there)
    if wanted.autoscaled and not gpus and wanted.gpu in (None, AUTO):
        raise InputError(
            "resources.autoscaled: no GPU is here yet, so say how many a trial gets of those that will come: resources.gpu=1, "
            "0.25, or 0"
        )
    gpu = wanted.gpu if wanted.gpu is not None else float(gpus >= 1)
    if gpu == AUTO:  # until it is measured: what it will be at least
        gpu = SHARES[0] if gpus >= 1 else 0.0
    assert isinstance(gpu, float)
    given = {"cpu": wanted.cpu, "gpu": gpu}
    if wanted.workers > 1:
        given["workers"] = wanted.workers
    if wanted.autoscaled:
        return given, wanted.concurrency or 1
    room = slots(there, wanted.cpu, gpu)
    if room < wanted.workers:
        raise InputError(_too_much(wanted, gpu, there, room))
    room //= wanted.workers
    return given, min(room, wanted.concurrency or room)


def _too_much(wanted: Resources, gpu: float, there: list[Node], room: int) -> str:
    """Why no trial would ever start."""
    if room:
        return f"{wanted.workers} workers of {wanted.cpu:g} cpu and {gpu:g} gpu are asked for, and this Ray has room for {room}; lower resources.workers"
    nearest = largest(there, gpu)
    short = "cpu" if wanted.cpu > nearest.cpu else "gpu" if gpu > nearest.gpu else "cpu or resources.gpu"
    most = "has" if len(there) == 1 else f"has {len(there)} nodes, of which the largest has"
    return (
        f"a trial asks for {wanted.cpu:g} cpu and {gpu:g} gpu on one node, and this Ray {most} {nearest}; lower "
        f"resources.{short}. Where nodes like that are added on demand: resources.autoscaled=true"
    )
