"""Search and resume: an experiment on Ray Tune, from its plan to its results."""

import fcntl
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from raynas.results import Store
from raynas.results.results import Results
from raynas.run.cluster import QUIET, carry, chatter_to, connected, environment, grant
from raynas.run.experiment import Experiment
from raynas.run.fingerprint import fingerprints
from raynas.run.ledger import INTERRUPTED, Ledger
from raynas.run.plan import Plan, differences, make_plan, spec_of
from raynas.run.progress import Lines, Live, Silent, View
from raynas.settings import check, override
from raynas.tables import InputError, nearest

STORE = "store.db"


class SearchFailed(RuntimeError):
    """The search ended early because every trial would fail; the message quotes the one traceback."""


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
    known = experiments(home_dir)
    hint = nearest(str(name), known) if known else ""
    there = f" Known: {', '.join(known)}" if known else ""
    raise InputError(f"there is no experiment '{name}' in '{home(home_dir)}'.{hint}{there}")


def _folder_for(name: str | None, plan: Plan, spec: dict[str, Any], home_dir: Path) -> tuple[Path, bool]:
    """The experiment's folder, and whether it goes on with what is there."""
    if name is None:
        base = "-".join(
            str(part) for part in (_short(plan), plan.experiment.search["name"].split(":")[-1], plan.experiment.seed)
        )
        names = [base, *(f"{base}-{number}" for number in range(2, 10_000))]
        return next(home_dir / item for item in names if not (home_dir / item).exists()), False
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(f"an experiment's name is letters, digits, '.', '_' and '-', got '{name}'")
    folder = home_dir / name
    if not (folder / STORE).exists():
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"'{folder}' is there already and holds no experiment; choose another name")
        return folder, False
    store = Store.open(folder / STORE)
    there = store.experiment()["spec"]
    store.close()
    different = differences(there, spec)
    if different:
        raise InputError(
            f"experiment '{name}' exists with another spec (it differs in {', '.join(different)}); choose another name, "
            f"or go on with it: raynas resume {name}"
        )
    return folder, True


def _short(plan: Plan) -> str:
    """A name for what is searched on what."""
    given = plan.experiment.space
    space = re.sub(r"[^A-Za-z0-9_]+", "_", Path(given.split(":")[-1]).stem) if isinstance(given, str) else "space"
    source = plan.experiment.data or plan.experiment.trainable or ""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", Path(source.split(":")[-1]).stem).strip("_")
    return f"{space}-{name}" if name else space


def _data_row(plan: Plan) -> dict[str, Any] | None:
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
    gpu: float | None = None,
    seed: int | None = None,
    name: str | None = None,
    home: str | Path | None = None,
    data_dir: str | Path | None = None,
    address: str | None = None,
    progress: bool = True,
    **settings: Any,
) -> Results:
    """Search a space and return the results; blocks until the budget is used up.

    `space` is a name (`raynas spaces`), a YAML path, `package.module:name` or a dict of Ray Tune domains. `data` is a
    name (`raynas data`), a path, or `(images, labels)` arrays; or give `trainable`, a generator function
    `train(config)` that yields a dict of metrics an epoch. `settings` are further fields of Experiment.
    Raises InputError for what cannot be run, SearchFailed when the first trials all fail alike.
    """
    spec: dict[str, Any] = {**settings, "space": _as_spec(space)}
    function = trainable if callable(trainable) else None
    arrays = None if data is None or isinstance(data, str | os.PathLike) else data
    named = {
        "trainable": _name_of(trainable) if trainable is not None else None,
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
            number = float(value) if section == "resources" else value
            spec[section] = {**spec.get(section, {}), key: number}
    return launch(
        spec,
        function=function,
        arrays=arrays,
        name=name,
        home_dir=home,
        data_dir=data_dir,
        address=address,
        progress=progress,
    )


def _as_spec(space: Any) -> Any:
    """A space as the Experiment holds it: a name or plain data."""
    if isinstance(space, str | os.PathLike):
        return os.fspath(space)
    from raynas.space import read

    return read(space).spec()


def _name_of(function: Any) -> str:
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
    progress: bool = True,
) -> Results:
    """Check a spec, create its experiment (or go on with the one of this name and spec), run it."""
    experiment = check(Experiment, spec, "experiment")
    plan = make_plan(experiment, function=function, arrays=arrays, data_dir=data_dir)
    resolved = spec_of(experiment, plan.space)
    folder, exists = _folder_for(name, plan, resolved, home(home_dir))
    if not exists:
        with ExitStack() as stack:
            stack.enter_context(connected(address))
            grant(experiment.resources)  # what no machine can give is said before anything is written
            row = {
                "name": folder.name,
                "spec": resolved,
                "seed": experiment.seed,
                "data": _data_row(plan),
                "fingerprints": fingerprints(plan.function),
            }
            Store.create(folder / STORE, row).close()
            return _run(plan, folder, address, progress)
    return _run(plan, folder, address, progress)


def resume(
    name: str | Path,
    trainable: Callable[..., Any] | None = None,
    *,
    data: Any = None,
    overrides: list[str] | None = None,
    trials: int | None = None,
    home: str | Path | None = None,
    data_dir: str | Path | None = None,
    address: str | None = None,
    progress: bool = True,
) -> Results:
    """Go on with an experiment where its store says it was; `trials` (or `budget.…` and `resources.…` overrides) extend it.

    `trainable` and `data` are needed again only where the search was given a function that cannot be imported, or arrays.
    """
    results = open_results(name, home)
    store = Store.open(results.path)
    row = store.experiment()
    store.close()
    assignments = [*(overrides or []), *([] if trials is None else [f"budget.trials={trials}"])]
    for assignment in assignments:
        if not assignment.startswith(("budget.", "resources.", "keep=")):
            raise InputError(
                f"resume can change budget.…, resources.… and keep, got '{assignment}'; start a new search for the rest"
            )
    experiment = check(Experiment, override(row["spec"], assignments), "experiment")
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
    if plan.dataset is not None and stored != plan.dataset.digest:
        raise InputError(
            f"the data of '{name}' has changed since it was searched (sha256 {stored} then, {plan.dataset.digest} now)"
        )
    return _run(plan, results.folder, address, progress, spec_of(experiment, plan.space))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One driver an experiment: the lock goes with the process, however that ends."""
    with open(folder / "driver.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"experiment '{folder.name}' is running in another process") from error
        yield


@contextmanager
def _ctrl_c(ledger: Ledger) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) lets go of what runs, resumable; the second ends at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def let_go(number: int, frame: Any) -> None:
        ledger.interrupt()
        print("\nstopping; what is done is kept. Ctrl-C again to stop at once.", file=sys.stderr, flush=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        for number in before:
            signal.signal(number, let_go)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _view(ledger: Ledger, slots: int, name: str, progress: bool) -> View:
    if not progress:
        return Silent()
    return Live(ledger, slots, name) if sys.stdout.isatty() else Lines(ledger, slots)


def _run(plan: Plan, folder: Path, address: str | None, progress: bool, spec: dict[str, Any] | None = None) -> Results:
    """Run the experiment in `folder` until its budget is used up or it is interrupted."""
    folder = folder.resolve()  # trials write there from working directories of their own
    with ExitStack() as stack:
        stack.enter_context(_locked(folder))
        stack.enter_context(environment(QUIET))
        stack.enter_context(connected(address))
        stack.enter_context(chatter_to(folder / "ray.log"))
        resources, slots = grant(plan.experiment.resources)
        store = Store.open(folder / STORE, writable=True)
        stack.callback(store.close)
        store.update_experiment(ended=None, **({} if spec is None else {"spec": spec}))
        experiment = plan.experiment
        ledger = Ledger(
            store,
            folder,
            plan.space,
            plan.searcher(),
            experiment.budget,
            experiment.seed,
            resources,
            experiment.keep,
            plan.cost,
        )
        history = ledger.replay()
        if ledger.changed:
            print(
                "note: the searcher proposes other configs than on record (another version?); those on record count",
                file=sys.stderr,
            )
        scheduler = plan.scheduler()
        if hasattr(scheduler, "replay"):
            scheduler.replay(history)
        out = slots if not plan.waits else (experiment.budget.trials or slots)
        view = _view(ledger, slots, folder.name, progress)
        stack.enter_context(_ctrl_c(ledger))
        try:
            _tune(plan, ledger, scheduler, view, out)
        finally:
            view.close()
            ledger.close()
    if ledger.error is not None:
        raise SearchFailed(f"stopped: {ledger.reason}\n\n{ledger.error}")
    if ledger.reason == INTERRUPTED:
        raise KeyboardInterrupt(folder.name)
    return Results(folder / STORE)


def _tune(plan: Plan, ledger: Ledger, scheduler: Any, view: View, out: int) -> None:
    """Hand the ledger to Ray Tune."""
    from ray import tune

    from raynas.train.trainable import GeneratorTrainable

    trainable = tune.with_parameters(GeneratorTrainable, training=_training(plan), objective=plan.objective)
    needs = {name: amount for name, amount in ledger.resources.items() if amount}
    scratch = tempfile.mkdtemp(prefix="tune-", dir=ledger.folder)  # Tune's own files; the store is the memory
    try:
        while not ledger.idle:
            try:
                _tuner(tune.with_resources(trainable, needs), ledger, scheduler, view, out, scratch).fit()
            except RuntimeError as error:
                # Tune gives up when Ray kills a worker to free memory; the rest of the night need not
                if "unexpected exception" not in str(error):
                    raise
                ledger.lose_all(str(error))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _tuner(trainable: Any, ledger: Ledger, scheduler: Any, view: View, out: int, scratch: str) -> Any:
    from ray import tune

    from raynas.run.ray_searcher import Hearing, RaySearcher, Stopping

    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=RaySearcher(ledger, out),
            scheduler=scheduler,
            num_samples=-1,
            max_concurrent_trials=out,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=scratch,
            stop=Stopping(ledger),
            callbacks=[Hearing(ledger, view)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # trials keep their own
            verbose=0,
        ),
    )


def _trial_name(trial: Any) -> str:
    given = trial.config["trial"]
    return f"{given['number']:05d}-{given['attempt']}"


def _training(plan: Plan) -> Any:
    """What a trial's process calls with a config."""
    if plan.function is not None:
        from raynas.train.own import OwnTraining

        carry(plan.function)
        return OwnTraining(plan.function)
    from raynas.data.store import share
    from raynas.train.network import NetworkTraining

    assert plan.dataset is not None
    every_s = 0.0 if plan.waits else 5.0  # those that pause and copy trials need the checkpoint of the last epoch
    return NetworkTraining(share(plan.dataset), plan.experiment.training.model_dump(), every_s)
