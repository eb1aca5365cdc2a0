"""One trial on several workers: who dies, who raises, what goes on from its checkpoint, and what they share."""

from dataclasses import fields
from types import SimpleNamespace

import pytest
import torch
import two_processes
from fallible import Fallible
from ray import cloudpickle, tune
from ray import exceptions as ray
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.train.v2._internal import exceptions as internal
from ray.train.v2._internal.execution.worker_group.poll import WorkerGroupPollStatus, WorkerStatus
from ray.train.v2.api.exceptions import ControllerError

import raynas
from raynas.objectives import Diverged
from raynas.results import Asked, Heard
from raynas.results.results import Results
from raynas.results.schema import trials
from raynas.results.store import Store
from raynas.run import drive, together
from raynas.run.broken_workers import failure_of
from raynas.run.drive import SearchFailed
from raynas.run.experiment import Budget
from raynas.run.final import check_trained
from raynas.run.ledger import Ledger
from raynas.run.progress import Silent
from raynas.run.together import retry_failed
from raynas.searchers import SEARCHERS
from raynas.settings import construct
from raynas.space import read
from raynas.tables import InputError


def stored(results):
    store = Store.open(results.path)
    try:
        return store.rows(trials)
    finally:
        store.close()


# -- what became of it ---------------------------------------------------------------------------------------------


def died(message="Worker unexpectedly exits with a connection error code 2."):
    context = ActorDiedErrorContext(
        class_name="RayTrainWorker", actor_id=b"1" * 16, pid=12, node_ip_address="10.0.0.2", error_message=message
    )
    return ray.ActorDiedError(cause=context)


def missed(failure):
    return internal.WorkerHealthCheckFailedError("A worker health check failed.", failure=failure)


def raised(error):
    """As the worker hands on what its training raised."""
    return internal.UserExceptionWithTraceback(
        error, f"Traceback (most recent call last):\n{type(error).__name__}: {error}"
    )


def told(error):
    """As an actor's method hands on what it raised."""
    return ray.RayTaskError("poll_status", f"Traceback\n{error}", error, "proc", 1, "10.0.0.2").as_instanceof_cause()


def group(*errors):
    """What `fit` raises for the errors of workers 0, 1, …; None is a worker that runs."""
    statuses = {rank: WorkerStatus(running=error is None, error=error) for rank, error in enumerate(errors)}
    return WorkerGroupPollStatus(statuses).get_worker_group_error()


CUT = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.0.0.2]:1234")
NCCL = torch.distributed.DistBackendError(
    "NCCL error ... ncclRemoteError: A call failed possibly due to a network error"
)
CREATION = ray.ActorDiedError(
    cause=ray.RayTaskError("__init__", "no module named x", ImportError("x"), "proc", 1, "ip")
)
FAILURES = [
    ("lost", group(missed(died())), "connection error code 2"),
    ("lost", group(None, missed(died())), "connection error code 2"),
    ("lost", group(raised(CUT), missed(died())), "connection error code 2"),
    ("lost", group(raised(CUT), died()), "connection error code 2"),
    ("lost", group(raised(NCCL), missed(died())), "connection error code 2"),
    ("lost", group(raised(KeyError("gone")), missed(died())), "connection error code 2"),
    ("lost", group(raised(CUT), None), "Connection closed by peer"),
    ("lost", group(raised(NCCL), raised(CUT)), "ncclRemoteError"),
    ("lost", group(missed(ray.NodeDiedError("its node died")), None), "its node died"),
    ("lost", group(missed(ray.ActorUnavailableError("out of reach", b"1" * 16)), None), "out of reach"),
    ("lost", group(missed(ray.OutOfMemoryError("killed due to memory pressure"))), "memory pressure"),
    ("lost", group(missed(ray.WorkerCrashedError())), "worker died"),
    ("lost", group(missed(ray.LocalRayletDiedError())), "raylet died"),
    ("lost", group(missed(ray.RpcError("unreachable"))), "unreachable"),
    ("lost", ControllerError(ray.ActorPlacementGroupRemoved()), "placement group"),
    ("lost", group(missed(told(died()))), "connection error code 2"),
    ("lost", group(None, internal.WorkerHealthCheckTimeoutError("it hangs")), "to increase the timeout"),
    ("lost", group(raised(died())), "connection error code 2"),  # the inbox
    ("lost", group(raised(told(ray.OwnerDiedError("ab", b"", "here")))), "owner"),  # the data's node
    ("lost", ControllerError(internal.WorkerGroupStartupTimeoutError(2)), "for 2 workers"),
    ("lost", ControllerError(internal.WorkerGroupStartupFailedError("one of them")), "one of them"),
    ("lost", ControllerError(died()), "connection error code 2"),
    ("lost", ControllerError(told(died())), "connection error code 2"),
    ("lost", died(), "connection error code 2"),  # the controller
    ("diverged", group(raised(Diverged("the loss is nan")), None), "the loss is nan"),
    ("diverged", group(raised(CUT), raised(Diverged("the loss is nan"))), "the loss is nan"),
    ("diverged", group(missed(died()), raised(Diverged("the loss is nan"))), "the loss is nan"),
    ("oom", group(raised(CUT), raised(torch.OutOfMemoryError("CUDA out of memory"))), "CUDA out of memory"),
    ("oom", group(raised(MemoryError("no room"))), "no room"),
    ("oom", group(missed(told(torch.OutOfMemoryError("CUDA out of memory")))), "CUDA out of memory"),
    ("error", group(raised(KeyError("mine"))), "mine"),
    ("error", group(None, raised(KeyError("mine"))), "mine"),
    ("error", group(raised(CUT), raised(KeyError("mine"))), "mine"),
    ("error", group(raised(RuntimeError("The actor died, says Diverged")), None), "says Diverged"),
    ("error", group(raised(ConnectionResetError("Connection reset by peer"))), "reset"),  # not between the workers
    ("error", group(missed(told(TypeError("cannot pickle 'x'")))), "cannot pickle"),  # what it raised cannot be sent
    ("error", group(missed(CREATION)), "raised in its creation task"),
    ("error", ControllerError(told(ValueError("no backend"))), "no backend"),
    ("error", InputError("no such place"), "no such place"),
]


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize(("kind", "error", "said"), FAILURES)
def test_what_became_of_workers_that_failed(kind, error, said, sent):
    """Whoever died or raised, in whatever order, as it comes and as Ray sends it from one process to another."""
    found, text = failure_of(cloudpickle.loads(cloudpickle.dumps(error)) if sent else error)
    assert found == kind
    assert said in (text if kind == "diverged" else text.splitlines()[-1])


def test_all_that_the_workers_said_is_kept():
    _, text = failure_of(group(raised(CUT), raised(KeyError("mine"))))
    assert text.count("Traceback (most recent call last)") == 2
    assert "[Rank 0" in text
    assert text.splitlines()[-1].startswith("KeyError")


# -- what is kept of it --------------------------------------------------------------------------------------------


def open_ledger(folder, workers=2, count=1):
    path = folder / "store.db"
    space = read({"x": tune.uniform(0.0, 1.0)})
    if not path.exists():
        spec = {"space": space.spec(), "objective": {"fitness": "accuracy"}, "resources": {"workers": workers}}
        row = {"name": "test", "spec": spec, "seed": 0, "data": None, "fingerprints": {}}
        Store.create(path, row).close()
    store = Store.open(path, writable=True)
    if workers > 1:
        retry_failed(store)
    searcher = construct(SEARCHERS["random"], {}, "search", space, 0)
    resources = {"cpu": 1.0, "gpu": 1.0, "workers": workers}
    ledger = Ledger(store, folder, space, searcher, Budget(trials=count), 0, resources, keep=1, most_epochs=4)
    ledger.replay()
    return ledger


def run_into(ledger, failure, epochs=2):
    """A trial that trained for some epochs, with its checkpoint, and then failed; for ever if it was lost."""
    trial = ledger.next()
    ledger.checkpoint(trial).mkdir(parents=True, exist_ok=True)
    for epoch in range(trial.epoch + 1, epochs + 1):
        ledger.hear(trial.number, trial.attempt, epoch, {"accuracy": epoch / 10}, epoch / 10, 1.0)
    if failure == "lost":
        for _ in range(20):
            ledger.lose(trial.number, trial.attempt, "lost", "died")
            if trial.ended:
                break
            assert ledger.checkpoint(trial).is_dir()
            trial = ledger.next()
    else:
        ledger.end(trial.number, trial.attempt, failure, "why")
    assert trial.ended
    return trial


@pytest.mark.parametrize("failure", ["lost", "error", "oom"])
def test_hours_of_several_workers_are_kept(tmp_path, failure):
    """A trial that failed is queued again in the next session, its epochs behind it, and ends as if it never had."""
    ledger = open_ledger(tmp_path)
    trial = run_into(ledger, failure)
    assert trial.failure == failure
    assert ledger.next() == "end"
    ledger.close()
    ledger.store.close()
    assert ledger.checkpoint(trial).is_dir()
    again = open_ledger(tmp_path)
    (row,) = again.store.rows(trials)
    assert [row[name] for name in ("state", "failure", "error", "ended")] == ["queued", None, None, None]
    assert [type(event) for event in again.store.history()] == [
        Asked,
        Heard,
        Heard,
    ]  # the searcher has not heard of its end
    assert not again.changed
    assert again.trained == 1
    back = again.next()
    assert (back.number, back.config, back.attempt, back.epoch) == (0, trial.config, trial.attempt + 1, 2)
    assert (back.failure, back.error, back.fitness) == (None, None, 0.2)
    assert again.hear(0, back.attempt, 3, {"accuracy": 0.3}, 0.3, 1.0)
    again.end(0, back.attempt, "done")
    (row,) = again.store.rows(trials)
    assert (row["state"], row["failure"], row["error"], row["fitness"]) == ("done", None, None, 0.3)
    assert again.next() == "end"
    assert len(again.trials) == 1
    again.close()
    again.store.close()


@pytest.mark.parametrize(
    ("workers", "failure", "said"),
    [
        (2, "error", r"\(error\); its checkpoint is kept, to go on from: raynas resume test\n\nwhy"),
        (2, "diverged", r"\(diverged\)\n\nwhy"),
        (1, "error", r"\(error\)\n\nwhy"),
    ],
)
def test_a_final_training_that_failed_says_so(tmp_path, workers, failure, said):
    ledger = open_ledger(tmp_path, workers)
    run_into(ledger, failure)
    ledger.close()
    ledger.store.close()
    with pytest.raises(SearchFailed, match=said):
        check_trained(Results(tmp_path / "store.db"))
    ledger = open_ledger(tmp_path, 2)
    trial = ledger.next()
    if trial != "end":
        ledger.hear(0, trial.attempt, 3, {"accuracy": 0.3}, 0.3, 1.0)
        ledger.end(0, trial.attempt, "done")
        check_trained(Results(tmp_path / "store.db"))
    ledger.store.close()


def test_what_diverged_or_was_one_workers_is_not_kept(tmp_path):
    for workers, failure in ((2, "diverged"), (1, "error"), (1, "lost")):
        folder = tmp_path / f"{workers}-{failure}"
        ledger = open_ledger(folder, workers)
        trial = run_into(ledger, failure)
        assert not ledger.checkpoint(trial).exists()
        ledger.close()
        ledger.store.close()
        again = open_ledger(folder, workers)
        assert again.next() == "end"
        assert again.trials[0].failure == failure
        again.store.close()


def test_a_failure_that_the_searcher_built_on_stays(tmp_path):
    """Of three trials that failed only the last has had nothing asked after it."""
    ledger = open_ledger(tmp_path, count=3)
    for _ in range(3):
        run_into(ledger, "error")
        ledger.reason = ledger.error = None  # three alike would end a search
    ledger.close()
    ledger.store.close()
    again = open_ledger(tmp_path, count=3)
    assert [trial.state for trial in again.trials.values()] == ["failed", "failed", "queued"]
    assert again.next().number == 2
    assert not again.changed
    again.store.close()


# -- the inbox -----------------------------------------------------------------------------------------------------


class Fit:
    """A `fit` that ends when it was looked at so often."""

    def __init__(self, looks, error=None, done=lambda look: None):
        self.looks, self.error, self.done, self.looked = looks, error, done, 0

    def is_alive(self):
        self.looked += 1
        self.done(self.looked)
        return self.looked < self.looks

    def join(self, seconds):
        pass


class Goal:
    objective = staticmethod(lambda metrics: metrics["accuracy"])


class Near:
    """An Inbox in this process: what its `remote` makes is there at once, and `ray.get` gives it on."""

    def __init__(self):
        self.inbox = together.Inbox()

    def __getattr__(self, name):
        return SimpleNamespace(remote=getattr(self.inbox, name))


@pytest.fixture
def near(monkeypatch):
    monkeypatch.setattr("ray.get", lambda value: value)
    return Near()


def report(epoch):
    return {"metrics": {"epoch": epoch, "finished": epoch == 4, "accuracy": epoch / 10}, "seconds": 1.0, "node": "here"}


def follow(ledger, fit, inbox):
    trial = ledger.next()
    together._follow(Goal, ledger, trial, Silent(), fit, inbox)
    return trial


def test_an_inbox_that_dies_is_a_trial_lost(ray_here, tmp_path):
    import ray as rays

    ledger, inbox = open_ledger(tmp_path), together._inbox()
    rays.get(inbox.put.remote(report(1)))
    fit = Fit(4, None, lambda look: rays.kill(inbox) if look == 2 else None)
    trial = follow(ledger, fit, inbox)
    assert (trial.state, trial.epoch, trial.attempt) == ("queued", 1, 2)
    assert fit.looked == 4  # the workers have their GPUs until they have ended
    ledger.store.close()


def test_an_inbox_out_of_reach_is_not_heard_again(tmp_path, near, monkeypatch):
    """Its workers are to end at their next report, not to train on for nobody."""
    ledger, killed = open_ledger(tmp_path), []

    def unreachable():
        raise ray.ActorUnavailableError("out of reach", b"1" * 16)

    monkeypatch.setattr(near.inbox, "take", unreachable)
    monkeypatch.setattr("ray.kill", killed.append)
    trial = follow(ledger, Fit(4), near)
    assert (trial.state, trial.attempt, killed) == ("queued", 2, [near])
    ledger.store.close()


@pytest.mark.parametrize(
    ("error", "epochs", "end"),
    [
        (None, 4, ("done", None, 1)),
        (group(missed(died())), 2, ("queued", None, 2)),
        (group(missed(died())), 4, ("done", None, 1)),  # after the last epoch it takes nothing with it
        (group(raised(KeyError("mine"))), 2, ("failed", "error", 1)),
        (group(raised(Diverged("the loss is nan"))), 2, ("failed", "diverged", 1)),
    ],
)
def test_how_a_trial_ends(tmp_path, near, error, epochs, end):
    ledger = open_ledger(tmp_path)
    near.inbox.reports = [report(epoch) for epoch in range(1, epochs + 1)]
    trial = follow(ledger, Fit(2, error), near)
    assert (trial.state, trial.failure, trial.attempt) == end
    assert trial.epoch == epochs
    ledger.store.close()


@pytest.mark.parametrize("begun", [False, True])
def test_a_search_that_stops_waits_for_workers_only_if_there_are_any(tmp_path, near, begun):
    ledger = open_ledger(tmp_path)
    if begun:
        near.inbox.begin()
    fit = Fit(5, None, lambda look: ledger.interrupt() if look == 2 else None)
    trial = follow(ledger, fit, near)
    assert fit.looked == (5 if begun else 2)
    assert trial.state == "running"  # and queued when the ledger is closed
    assert not near.inbox.put(report(1))
    ledger.store.close()


def test_the_inbox_is_pinned_to_the_drivers_node(ray_here, monkeypatch):
    import ray as rays

    asked = {}

    def options(self, **given):
        asked.update(given)
        return SimpleNamespace(remote=lambda: None)

    monkeypatch.setattr(rays.actor.ActorClass, "options", options)
    together._inbox()
    where = asked["scheduling_strategy"]
    assert (where.node_id, where.soft) == (rays.get_runtime_context().get_node_id(), False)


# -- what they share -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return two_processes.both(tmp_path_factory.mktemp("two"))


def test_workers_that_see_different_checkpoints_say_so(two):
    assert [found["same"] for found in two] == 2 * [{"epoch": 1, "finished": False, "val_loss": 0.5}]
    left, right = (found["other"] for found in two)
    assert left == right
    assert "different checkpoints in 'runs/one/checkpoints/00000': worker 0 on " in left
    assert "epoch 1, worker 1 on " in left
    assert "epoch 0 (0: none" in left


def test_two_processes_train_as_one(two):
    metrics, _ = two_processes.alone(two_processes.RECIPE, normed=False)
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr_last"):
        for found in two:
            curve = [epoch["metrics"][name] for epoch in found["plain"]]
            assert curve == pytest.approx([epoch[name] for epoch in metrics], rel=1e-4)
    assert metrics[1]["train_loss"] < metrics[0]["train_loss"]


def test_all_evaluate_and_keep_the_same_network(two):
    """The running statistics are those of all workers, and what is reported is what that network does."""
    left, right = (found["normed"] for found in two)
    for mine, other in zip(left, right, strict=True):
        assert mine["statistics"] == other["statistics"]
        assert mine["whole"] == other["whole"]
        assert mine["metrics"]["val_loss"] == pytest.approx(mine["whole"][0], rel=1e-6)
        assert mine["metrics"]["val_accuracy"] == pytest.approx(mine["whole"][1])


def test_the_running_mean_is_that_of_the_whole_batch(two):
    """Where the weights stand still it is one process's; the variance is up to what lies between the parts."""
    _, alone = two_processes.alone(two_processes.STILL, normed=True)
    for found in two:
        statistics = found["still"][-1]["statistics"]
        assert statistics["0.running_mean"] == pytest.approx(alone["0.running_mean"], rel=1e-4, abs=1e-6)
        assert statistics["0.running_var"] == pytest.approx(alone["0.running_var"], rel=0.05)
        assert statistics["0.num_batches_tracked"] == alone["0.num_batches_tracked"] == 12


# -- all of it -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_that_dies_and_one_that_raises_cost_no_epoch(ray_here, tmp_path, monkeypatch):
    """A killed worker: on from the checkpoint by itself. An error of the code: the trial fails, its checkpoint stays, and the
    same search again goes on from there."""
    made, kinds = drive._training, []

    def fallible(plan):
        whole = made(plan)
        given = {each.name: getattr(whole, each.name) for each in fields(whole)}
        return Fallible(**given, marks=str(tmp_path))

    def heard(error):
        found = failure_of(error)
        kinds.append(found[0])
        print(error.worker_failures)
        return found

    monkeypatch.setattr(drive, "_training", fallible)
    monkeypatch.setattr(together, "failure_of", heard)
    space = {"architecture": raynas.Genome(layers=[4, 4], filters=[5, 6], kernels=[1, 3], reductions=2)}
    given = {"data": "fashion_mnist_mini", "search": "random", "trials": 1, "name": "both", "home": tmp_path}
    given |= {"training": {"epochs": 4}, "resources": {"workers": 2, "cpu": 0.5, "gpu": 0.0}, "progress": False}
    results = raynas.search(space, **given)
    (row,) = stored(results)
    assert (row["state"], row["failure"], row["attempt"]) == ("failed", "error", 2)
    assert row["error"].endswith("KeyError: 'once'")
    assert kinds == ["lost", "error"]
    results = raynas.search(space, **given)
    (row,) = stored(results)
    assert (row["state"], row["failure"], row["attempt"]) == ("done", None, 3)
    for rank in (0, 1):
        assert (tmp_path / f"trained {rank}").read_text().split() == ["1", "2", "3", "4"]
    assert results.curves["epoch"].tolist() == [1, 2, 3, 4]
    assert results.curves["attempt"].tolist() == [1, 2, 3, 3]
