"""Trackers by name: `mlflow:URI`, `tensorboard:DIR`, `wandb:PROJECT`, `optuna:URL`."""

import hashlib
import importlib
import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas.run.tracking.audience import Audience, Subject, Tracker
from raynas.tables import InputError, look_up


@dataclass(frozen=True)
class Kind:
    """Where a tracker is, what it needs, and how it is told where to."""

    home: str  # module:class; the module's `check` says at the door what is wrong with a target
    needs: str
    example: str


TRACKERS = {
    "mlflow": Kind("raynas.run.tracking.mlflow:Mlflow", "mlflow", "mlflow:sqlite:///mlflow.db"),
    "optuna": Kind("raynas.run.tracking.optuna:OptunaStudy", "optuna", "optuna:sqlite:///study.db"),
    "tensorboard": Kind("raynas.run.tracking.tensorboard:TensorBoard", "tensorboardX", "tensorboard:boards"),
    "wandb": Kind("raynas.run.tracking.wandb:Wandb", "wandb", "wandb:my-project"),
}
SECRET = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")
HIDDEN = "***"


def split_tracker(given: str) -> tuple[str, str]:
    """`mlflow:URI` as (mlflow, URI)."""
    name, _, target = given.partition(":")
    kind = look_up("tracker", name, TRACKERS)
    if not target:
        raise InputError(f"say where {name} is to write, e.g. {kind.example}, got '{given}'")
    return name, target


def check_trackers(track: Iterable[str]) -> None:
    """Raise InputError for what cannot be tracked: a wrong name, a missing package, a place that does not answer."""
    names = set[str]()
    for given in track:
        name, target = split_tracker(given)
        if name in names:
            raise InputError(f"a search is tracked by one {name}, got a second: '{given}'")
        names.add(name)
        if f":{HIDDEN}@" in target:
            raise InputError(f"the password of '{given}' is not stored: give --track again, with it")
        if importlib.util.find_spec(TRACKERS[name].needs) is None:
            raise InputError(
                f"tracking by {name} needs the package '{TRACKERS[name].needs}': pip install 'raynas[{name}]'"
            )
        try:
            _module(name).check(target)
        except Exception as error:  # whatever the package raises
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(f"cannot track by '{without_password(given)}': {said}") from error


def open_trackers(track: Iterable[str], name: str, created: float, folder: Path, plan: Any) -> Audience:
    """The trackers of an experiment, which `created` tells from others of its name."""
    key = hashlib.blake2b(f"{name} {created}".encode(), digest_size=6).hexdigest()
    opened: dict[str, Tracker] = {}
    for given in track:
        kind, target = split_tracker(given)
        made = getattr(_module(kind), TRACKERS[kind].home.partition(":")[2])
        try:
            opened[kind] = made(target, Subject(name, folder, key), plan)
        except Exception as error:
            raise InputError(f"cannot track by '{without_password(given)}': {error}") from error
    return Audience(opened)


def _module(name: str) -> Any:
    return importlib.import_module(TRACKERS[name].home.partition(":")[0])


def without_password(given: str) -> str:
    return SECRET.sub(rf"\1:{HIDDEN}@", given)


def without_passwords(track: Iterable[str]) -> list[str]:
    """Trackers as they are stored."""
    return [without_password(given) for given in track]
