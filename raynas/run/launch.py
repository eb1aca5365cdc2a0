"""Search and resume: what a person asks for becomes an experiment that is driven to its end."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from raynas.results.database import database_of
from raynas.results.results import Results
from raynas.run.cluster import QUIET, check_grant, connected, environment
from raynas.run.drive import drive
from raynas.run.experiment import AUTO, Experiment
from raynas.run.fingerprint import fingerprints
from raynas.run.folders import check_name, claim, open_results, store_of
from raynas.run.folders import home as home_of
from raynas.run.plan import Plan, make_plan, spec_of
from raynas.run.sharing import measured_share
from raynas.settings import check, override
from raynas.tables import InputError


def data_row(plan: Plan) -> dict[str, Any] | None:
    if plan.table is not None:
        return {"name": plan.table.name, "digest": plan.table.digest}
    if plan.dataset is None:
        return None
    data = plan.dataset
    return {
        "name": data.name,
        "digest": data.digest,
        "split": data.split,
        "input_shape": list(data.input_shape),
        "classes": data.classes,
    }


def search(
    space: Any,
    trainable: Callable[..., Any] | str | None = None,
    *,
    data: Any = None,
    search: str | Mapping[str, Any] | None = None,
    stop: str | Mapping[str, Any] | None = None,
    objective: str | Mapping[str, Any] | None = None,
    trials: int | None = None,
    epochs: int | None = None,
    cpu: float | None = None,
    gpu: float | str | None = None,
    seed: int | None = None,
    name: str | None = None,
    home: str | Path | None = None,
    data_dir: str | Path | None = None,
    address: str | None = None,
    store: str | None = None,
    progress: bool = True,
    **settings: Any,
) -> Results:
    """Search a space and return the results; blocks until the budget is used up.

    `space` is a name (`raynas spaces`), a YAML path, `package.module:name` or a dict of Ray Tune domains. `data` is a
    name (`raynas data`), a path, or `(images, labels)` arrays; or give `trainable`, a generator function
    `train(config)` that yields a dict of metrics an epoch. `store` is the URL of a PostgreSQL database that holds the trials
    of this and other experiments [$RAYNAS_STORE, or a file in the experiment's folder]. `settings` are further fields of Experiment.
    Raises InputError for what cannot be run, SearchFailed when the first trials all fail alike.
    """
    spec: dict[str, Any] = {**settings, "space": as_spec(space)}
    function = trainable if callable(trainable) else None
    arrays = None if data is None or isinstance(data, str | os.PathLike) else data
    named = {
        "trainable": name_of(trainable) if trainable is not None else None,
        "data": None if data is None else os.fspath(data) if arrays is None else "(arrays)",
        "search": search,
        "stop": stop,
        "objective": objective,
        "seed": seed,
    }
    spec |= {key: value for key, value in named.items() if value is not None}
    for section, key, value in (
        ("budget", "trials", trials),
        ("training", "epochs", epochs),
        ("resources", "cpu", cpu),
        ("resources", "gpu", gpu),
    ):
        if value is not None:
            spec[section] = {**spec.get(section, {}), key: value}
    return launch(
        spec,
        function=function,
        arrays=arrays,
        name=name,
        home_dir=home,
        data_dir=data_dir,
        address=address,
        store=store,
        progress=progress,
    )


def as_spec(space: Any) -> Any:
    """A space as the Experiment holds it: a name or plain data."""
    if isinstance(space, str | os.PathLike):
        return os.fspath(space)
    from raynas.space import read

    return read(space).spec()


def name_of(function: Any) -> str:
    return function if isinstance(function, str) else f"{function.__module__}:{function.__qualname__}"


def launch(
    spec: Mapping[str, Any],
    *,
    function: Callable[..., Any] | None = None,
    arrays: Any = None,
    name: str | None = None,
    home_dir: str | Path | None = None,
    data_dir: str | Path | None = None,
    address: str | None = None,
    store: str | None = None,
    progress: bool = True,
) -> Results:
    """Check a spec, create its experiment (or go on with the one of this name and spec), run it."""
    experiment = check(Experiment, spec, "experiment")
    plan = make_plan(experiment, function=function, arrays=arrays, data_dir=data_dir)
    check_name(name)
    url = database_of(store_of(home_of(home_dir), store))
    with environment(QUIET), connected(address):
        check_grant(experiment)  # what no machine can give is said before anything is written
        if experiment.resources.gpu == AUTO:
            plan = replace(plan, sharing=measured_share(plan))
        row = {
            "spec": spec_of(plan),
            "seed": experiment.seed,
            "data": data_row(plan),
            "fingerprints": fingerprints(plan.function),
        }
        folder, extended = claim(name, plan, row, home_of(home_dir), store)
        return drive(plan, folder, address, progress, extended, database=url)


def resume(
    name: str | Path,
    trainable: Callable[..., Any] | None = None,
    *,
    data: Any = None,
    overrides: list[str] | None = None,
    trials: int | None = None,
    track: list[str] | None = None,
    home: str | Path | None = None,
    data_dir: str | Path | None = None,
    address: str | None = None,
    store: str | None = None,
    progress: bool = True,
) -> Results:
    """Go on with an experiment where its store says it was; `trials` (or `budget.…` and `resources.…` overrides) extend it.

    `track` replaces who else hears, and tells them what they missed; `trainable` and `data` are needed again only where the search was given a function that cannot be imported, or arrays.
    """
    results = open_results(name, home, store)
    if results.row is not None:
        raise InputError(f"'{results.name}' is a verification: raynas verify goes on with it")
    row = results.experiment
    assignments = [*(overrides or []), *([] if trials is None else [f"budget.trials={trials}"])]
    for assignment in assignments:
        if not assignment.startswith(("budget.", "resources.", "keep=", "track=")):
            raise InputError(
                f"resume can change budget.…, resources.…, keep and track, got '{assignment}'; start a new search for the rest"
            )
    spec = {**row["spec"], **({} if track is None else {"track": track})}
    experiment = check(Experiment, override(spec, assignments), "experiment")
    if experiment.data == "(arrays)" and data is None:
        raise InputError(
            f"'{name}' was searched on arrays: resume it from Python, raynas.resume(name, data=(images, labels))"
        )
    if experiment.trainable is not None and trainable is None and experiment.trainable.startswith("__main__:"):
        raise InputError(
            f"'{name}' trains by a function of a script: resume it from Python, raynas.resume(name, function)"
        )
    plan = make_plan(experiment, function=trainable, arrays=data, data_dir=data_dir)
    stored = (row["data"] or {}).get("digest")
    now = (data_row(plan) or {}).get("digest")
    if stored != now:
        raise InputError(f"the data of '{name}' has changed since it was searched (sha256 {stored} then, {now} now)")
    return drive(plan, results.folder, address, progress, spec_of(plan), database=database_of(results.path))
