"""Driving an experiment: its ledger on one side, Ray Tune on the other."""

import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from raynas.data.tabular import PREFIX, find_table
from raynas.results import Store
from raynas.results.database import InDatabase, Where
from raynas.results.results import Results
from raynas.run.cluster import QUIET, carry, chatter_to, check_ends, connected, environment, grant
from raynas.run.experiment import AUTO
from raynas.run.folders import STORE, locked
from raynas.run.ledger import INTERRUPTED, Ledger
from raynas.run.plan import Plan
from raynas.run.progress import Lines, Live, Silent, View
from raynas.run.sharing import measured_share
from raynas.run.together import retry_failed, train_together
from raynas.run.tracking import open_trackers
from raynas.run.watch import Watch


class SearchFailed(RuntimeError):
    """The search `name` ended early because every trial would fail; the message quotes the one traceback."""

    def __init__(self, message: str, name: str):
        super().__init__(message)
        self.name = name


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
        for each in before:
            signal.signal(each, signal.default_int_handler)

    try:
        for number in before:
            signal.signal(number, let_go)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _view(ledger: Ledger, epochs: int | None, name: str, progress: bool) -> View:
    if not progress:
        return Silent()
    return Live(ledger, epochs, name) if sys.stdout.isatty() else Lines(ledger, epochs)


def drive(
    plan: Plan,
    folder: Path,
    address: str | None,
    progress: bool,
    spec: dict[str, Any] | None = None,
    row: str | None = None,
    database: Any = None,
) -> Results:
    """Run the experiment in `folder`, or its verification `row`, until its budget is used up or it is interrupted. Its store
    is there too, or in `database` (a URL)."""
    folder = folder.resolve()  # trials write there from working directories of their own
    where: Where = folder / STORE if database is None else InDatabase(database, folder.name, folder)
    place = folder if row is None else folder / row
    with ExitStack() as stack:
        stack.enter_context(locked(folder))
        stack.enter_context(environment(QUIET))
        stack.enter_context(connected(address))
        place.mkdir(exist_ok=True)
        stack.enter_context(chatter_to(place / "ray.log"))
        resources = _granted(plan, progress)
        check_ends(plan.experiment.budget, resources["gpu"])
        store = Store.open(where, writable=True, row=row)
        stack.callback(store.close)
        store.update_experiment(ended=None, **({} if spec is None else {"spec": spec}))
        experiment = plan.experiment
        ledger = Ledger(
            store,
            place,
            plan.space,
            plan.searcher(),
            experiment.budget,
            experiment.seed,
            resources,
            experiment.keep,
            plan.cost,
            plan.most_epochs,
            plan.limits,
            plan.objective.scores,
            open_trackers(experiment.track, folder.name, store.experiment()["created"], folder, plan),
            plan.merge,
        )
        for leftover in place.glob("tune-*"):  # of a driver that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        if experiment.resources.workers > 1:
            retry_failed(store)
        history = ledger.replay()
        ledger.audience.replay(history)
        if ledger.changed and experiment.stop["name"] != "pbt":  # which changes configs itself
            print(
                "note: the searcher proposes other configs than on record (another version?); those on record count",
                file=sys.stderr,
            )
        scheduler = plan.scheduler()
        if hasattr(scheduler, "replay"):
            scheduler.replay(history)
        watch = Watch(experiment.resources.model_copy(update={"gpu": resources["gpu"]}))
        if progress and plan.feasible is not None:
            print(f"limits: {plan.feasible}", flush=True)
        view = _view(ledger, plan.most_epochs, folder.name if row is None else f"{folder.name}/{row}", progress)
        stack.enter_context(_ctrl_c(ledger))
        try:
            if experiment.resources.workers > 1:
                train_together(plan, ledger, view, _training(plan))
            else:
                tune_all(plan, ledger, scheduler, view, watch)
        except Exception:
            if store.broken is None:
                raise  # otherwise what Tune made of it is beside the point
        finally:
            try:
                view.close()
            finally:
                ledger.close()
    if store.broken is not None:
        raise store.broken
    if ledger.error is not None:
        raise SearchFailed(f"stopped: {ledger.reason}\n\n{ledger.error}", folder.name)
    if ledger.reason == INTERRUPTED:
        raise KeyboardInterrupt(folder.name, "resume" if row is None else "verify")
    return Results(where, row)


def _granted(plan: Plan, progress: bool) -> dict[str, float]:
    """What a trial gets, its share of a GPU measured where it is asked for."""
    wanted = plan.experiment.resources
    resources, _ = grant(wanted)  # before anything is measured: what no node can give is said at once
    if wanted.gpu != AUTO:
        return resources
    sharing = plan.sharing or measured_share(plan)
    if progress:
        print(sharing, flush=True)
    resources, _ = grant(wanted.model_copy(update={"gpu": sharing.gpu}))
    return {**resources, **sharing.row()}


def tune_all(plan: Plan, ledger: Ledger, scheduler: Any, view: View, watch: Watch) -> None:
    """Hand the ledger to Ray Tune."""
    from ray import tune

    from raynas.run.ray_searcher import Hearing
    from raynas.train.trainable import GeneratorTrainable

    everyone = plan.experiment.budget.trials if plan.waits else None  # who pauses trials has all of them out, in turns

    def out() -> int:
        return everyone or watch.slots()

    trainable = tune.with_parameters(GeneratorTrainable, training=_training(plan), objective=plan.objective)
    needs = {name: amount for name in ("cpu", "gpu") if (amount := ledger.resources[name])}
    scratch = tempfile.mkdtemp(prefix="tune-", dir=ledger.folder)  # Tune's own files; the store is the memory
    try:
        while not ledger.idle:
            try:
                rules = scheduler if hasattr(scheduler, "replay") else plan.scheduler()
                hearing = Hearing(ledger, view, watch.name)
                _tuner(tune.with_resources(trainable, needs), ledger, rules, hearing, out, scratch).fit()
            except RuntimeError as error:
                # Tune gives up when Ray kills a worker to free memory; the rest of the night need not
                if "unexpected exception" not in str(error):
                    raise
                ledger.lose_all(str(error))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _tuner(trainable: Any, ledger: Ledger, scheduler: Any, hearing: Any, out: Callable[[], int], scratch: str) -> Any:
    from ray import tune

    from raynas.run.ray_searcher import RaySearcher, Stopping

    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=RaySearcher(ledger, out),
            scheduler=scheduler,
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=scratch,
            stop=Stopping(ledger),
            callbacks=[hearing],
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
    if plan.table is not None:
        from raynas.train.tabular import TabularTraining

        return TabularTraining(_absolute(plan.experiment.data or ""), plan.experiment.training.epochs, plan.waits)
    from raynas.data.store import seal, share
    from raynas.train.network import NetworkTraining

    assert plan.dataset is not None
    if plan.architectures is not None:
        from raynas.train.enas import EnasTraining

        oneshot = {**(plan.experiment.oneshot or {}), "space": plan.architectures.spec()}
        return EnasTraining(
            share(plan.dataset), plan.experiment.training.model_dump(), oneshot, 0.0 if plan.waits else 5.0
        )
    every_s = 0.0 if plan.waits else 5.0  # those that pause and copy trials need the checkpoint of the last epoch
    test = seal(plan.dataset) if plan.scores_test else None
    training = plan.experiment.training.model_dump()
    return NetworkTraining(share(plan.dataset), training, every_s, plan.timed, plan.limits, test)


def _absolute(data: str) -> str:
    """`tabular:FILE#PART` with the file's whole path: trials may run in other directories."""
    file, _, part = data.removeprefix(PREFIX).partition("#")
    return f"{PREFIX}{find_table(file).resolve()}#{part}"
