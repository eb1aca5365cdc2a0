"""An order: the experiment that a job runs, as a file and a command line."""

import json
import shlex
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas.data.load import names
from raynas.data.tabular import PREFIX, is_tabular
from raynas.results.database import database, shown
from raynas.run.experiment import Experiment
from raynas.run.folders import check_name
from raynas.run.launch import as_spec, name_of
from raynas.run.tracking import without_passwords
from raynas.settings import check
from raynas.tables import InputError, is_import_name, nearest

CONFIG = "raynas-job.yaml"
HOME = "~/raynas-runs"  # of the cluster: a job's own directory is swept away


@dataclass(frozen=True)
class Order:
    """`config` is the experiment as YAML; `home`, `data_dir` and `store` are as the cluster names them."""

    name: str
    config: str
    home: str
    data_dir: str | None = None
    store: str | None = None

    def arguments(self, config: str = CONFIG, address: str | None = "auto") -> list[str]:
        """What follows `python -m raynas`."""
        said = {"--address": address, "--data-dir": self.data_dir, "--store": self.store}
        given = [part for option, value in said.items() if value is not None for part in (option, value)]
        return ["search", "--config", config, "--name", self.name, "--home", self.home, *given]

    def entrypoint(self, version: str | None) -> str:
        """The command that a cluster's job is; it ends at once where raynas is not of this `version`."""
        expected = [] if version is None else ["--expect", version]
        return shlex.join(["exec", "python", "-m", "raynas", *expected, *self.arguments()])


def order(
    spec: Mapping[str, Any],
    *,
    name: str | None = None,
    home: str | Path | None = None,
    data_dir: str | Path | None = None,
    store: str | None = None,
    far: bool = True,
) -> Order:
    """Check what can be checked from here. `far`: the cluster has other disks and other eyes than this machine."""
    check_name(name)
    spec = {**spec, "space": as_spec(_space(spec.get("space")))} if spec.get("space") else dict(spec)
    experiment = check(Experiment, spec, "experiment")
    data = experiment.data
    if data == "(arrays)":
        raise InputError("arrays do not travel: name the data, or give the path of its files")
    if experiment.trainable is not None and experiment.trainable.startswith("__main__:"):
        raise InputError(
            f"a job cannot import '{experiment.trainable}': put the function in a module of the working directory"
        )
    if far and data is not None:
        _elsewhere(data)
    if far and without_passwords(experiment.track) != list(experiment.track):
        raise InputError(
            f"everyone who sees the cluster's jobs could read the password in --track {' '.join(without_passwords(experiment.track))}: "
            "leave it out, and give it to the cluster (MLFLOW_TRACKING_PASSWORD, PGPASSWORD)"
        )
    return Order(
        name or _made_name(experiment),
        json.dumps(spec, ensure_ascii=False, indent=1),
        str(home or HOME),
        None if data_dir is None else str(data_dir),
        None if store is None else _without_password(store, far),
    )


def _space(space: Any) -> Any:
    """A space in a YAML file travels as what is in it."""
    if isinstance(space, str) and not is_import_name(space) and Path(space).is_file():
        from raynas.space import read

        return read(space)
    return space


def _elsewhere(data: str) -> None:
    """Raise InputError where data is named by a path that only this machine can know."""
    path = data.removeprefix(PREFIX).partition("#")[0] if is_tabular(data) else data
    named_there = is_tabular(data) and "/" not in path and not Path(path).exists()  # in the cluster's folder of data
    if path in names() or Path(path).is_absolute() or named_there:
        return
    raise InputError(
        f"'{data}' is no dataset that raynas knows, so it is a path of this machine, and datasets do not travel with a job."
        f"{nearest(data, names())} Copy it to the cluster's shared disk and give its absolute path there, or name one of: "
        f"{', '.join(names())}"
    )


def _without_password(store: str, far: bool) -> str:
    url = database(store)
    if far and (url.password is not None or any("password" in key for key in url.query)):
        raise InputError(
            f"everyone who sees the cluster's jobs would see the password of '{shown(url)}': leave it out, and give the cluster "
            "PGPASSWORD or ~/.pgpass"
        )
    return store


def _made_name(experiment: Experiment) -> str:
    """A name that no other experiment has."""
    source = (experiment.data or experiment.trainable or "").removeprefix(PREFIX).split(":")[-1].split("#")[0]
    stem = "".join(letter if letter.isalnum() else "_" for letter in Path(source).stem).strip("_") or "search"
    return f"{stem[:40]}-{experiment.search['name'].split(':')[-1][:40]}-{uuid.uuid4().hex[:6]}"


def spec_asked(
    space: Any,
    trainable: Callable[..., Any] | str | None,
    data: Any,
    trials: int | None,
    epochs: int | None,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """The spec of a `submit` in Python; `settings` are further fields of Experiment."""
    spec: dict[str, Any] = {**settings, "space": space if isinstance(space, str) else as_spec(space)}
    if data is not None:
        spec["data"] = str(data) if isinstance(data, str | Path) else "(arrays)"
    if trainable is not None:
        spec["trainable"] = name_of(trainable)
    for section, key, value in (("budget", "trials", trials), ("training", "epochs", epochs)):
        if value is not None:
            spec[section] = {**spec.get(section, {}), key: value}
    return spec
