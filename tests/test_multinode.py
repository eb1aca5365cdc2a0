"""Several Ray nodes on one machine: who ran what where is read from the store and from Ray's own counts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from raynas.bench.machines import busiest, utilisation
from raynas.run.experiment import Resources
from raynas.run.progress import Silent
from raynas.run.ray_searcher import Hearing, loss
from raynas.run.watch import Watch
from raynas.tables import InputError

HERE = Path(__file__).parent
SLOTS = 4  # of a quarter of a GPU


def happened(folder, what, trials):
    """The facts of a run of three_nodes.py in a process of its own: this one has a Ray of its own."""
    said = folder / "facts.json"
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32}  # whatever another test's Ray has left here
    environment = {**os.environ, **token, "THREE_NODES": str(folder), "PYTHONPATH": path}
    command = [sys.executable, str(HERE / "three_nodes.py"), what, str(trials), str(said)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(said.read_text())


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """40 trials; a second node came when the first was full, and the first was killed with trials on it."""
    return happened(tmp_path_factory.mktemp("moving"), "comes_and_goes", 40)


def test_never_more_trials_on_a_gpu_than_its_shares(moved):
    assert [address for _, address in moved["before"]] == ["127.0.0.2"] * SLOTS  # full, and not one more
    assert max(busiest(moved["rows"]).values()) <= SLOTS


def test_a_node_that_comes_is_used(moved):
    print(f"the second node was used {moved['used_after_s']} s after it came")
    used = {row["node"].rpartition("/")[2] for row in moved["rows"]}
    assert used == {"127.0.0.2", "127.0.0.3"}


def test_a_node_that_dies_takes_no_trial_with_it(moved):
    rows, starts = moved["rows"], [x for x, _ in moved["starts"]]
    assert len(rows) == 40
    assert {row["state"] for row in rows} == {"done"}
    held = set(moved["held"])
    lost = [row for row in rows if str(row["config"]["x"]) in held]
    assert len(lost) == len(held) > 0
    assert all(row["attempt"] > 1 for row in lost)
    assert all(row["node"].endswith("/127.0.0.3") for row in lost)
    assert moved["ended"]
    assert all(starts.count(str(x)) == 1 for x in moved["ended"])
    told = [row["told"] for row in rows]
    assert len(set(told)) == len(told)


HEAD = "Failure # 1 (occurred at 2026-11-25_19-00-00)\n"
DIED = ray.exceptions.ActorDiedError
LOSSES = [
    (str(DIED()), "lost"),
    (str(ray.exceptions.ActorUnavailableError("RpcError: RPC error: Socket closed rpc_code: 14", b"\1" * 16)), "lost"),
    (str(ray.exceptions.WorkerCrashedError()), "lost"),
    (str(ray.exceptions.LocalRayletDiedError()), "lost"),
    (
        "ray::X.train() (pid=7, ip=127.0.0.2)\nray.exceptions.ObjectFetchTimedOutError: Failed to retrieve object",
        "lost",
    ),
    (str(ray.exceptions.OutOfMemoryError("Task was killed due to the node running low on memory")), "oom"),
    ("ray::X.train() (pid=7, ip=127.0.0.2)\nRuntimeError: CUDA error: device-side assert triggered", "error"),
    ("ray::X.train() (pid=7, ip=127.0.0.2)\ntorch.OutOfMemoryError: CUDA out of memory", "oom"),
    ("The actor died because of an error raised in its creation task, ray::X.__init__() (pid=7)", "error"),
]


@pytest.mark.parametrize(("text", "kind"), LOSSES, ids=[kind + str(number) for number, (_, kind) in enumerate(LOSSES)])
def test_what_the_loss_of_a_process_means(text, kind):
    """In the words of Ray's own exceptions, as Tune writes them."""
    assert loss(HEAD + text + "\n") == kind


def test_a_search_that_nothing_can_run_says_so(capsys):
    now = [0.0]
    waiting, running = SimpleNamespace(status="PENDING"), SimpleNamespace(status="RUNNING")
    meter = SimpleNamespace(budget_s=None)
    ledger = SimpleNamespace(out={0: "a trial"}, meter=meter, resources={"cpu": 1.0, "gpu": 0.25})
    hearing = Hearing(ledger, Silent(), clock=lambda: now[0])

    def said(second, *trials):
        now[0] = second
        hearing.on_step_end(0, list(trials))
        return capsys.readouterr().err

    assert not said(59, waiting)
    assert "no trial has run for 1m00s: no node has 1 cpu and 0.25 gpu free" in said(60, waiting)
    assert not said(600, waiting)
    assert "no trial has run for 11m01s" in said(661, waiting)
    assert not said(700, waiting, running)
    assert not said(755, waiting)
    assert "for 1m01s" in said(761, waiting)


def row(node, began, ended):
    return {"node": node, "seconds": ended - began, "ended": ended}


def test_busiest_and_utilisation():
    rows = [row("a", 0, 4), row("a", 4, 8), row("a", 1, 5), row("b", 0, 8)]
    assert busiest(rows) == {"a": 2, "b": 1}  # one that begins when another ends takes its place
    assert utilisation(rows, 4) == pytest.approx(20 / 32)
    assert busiest([row("a", 0, 4), row("a", 3.9, 8)]) == {"a": 2}


def test_watch_looks_again(monkeypatch):
    now, room, names = [0.0], [2], ["a"]

    def granted(resources):
        assert resources.gpu == 0.25
        if not room[0]:
            raise InputError("no node can run one")
        return {}, room[0]

    def node(name, alive=True):
        return {"NodeManagerHostname": name, "Alive": alive}

    monkeypatch.setattr("raynas.run.watch.grant", granted)
    monkeypatch.setattr("ray.nodes", lambda: [*map(node, names), node("b", alive=False)])
    watch = Watch(Resources(gpu=0.25), clock=lambda: now[0])
    assert (watch.slots(), watch.name("a", "10.0.0.1"), watch.name("b", "10.0.0.2")) == (2, "a", "b")
    room[0], names[:] = 5, ["a", "a", "b"]
    assert watch.slots() == 2  # within the same second
    now[0] = 1.0
    assert (watch.slots(), watch.name("a", "10.0.0.1"), watch.name("b", "10.0.0.2")) == (5, "a/10.0.0.1", "b")
    room[0], now[0] = 0, 2.0
    assert watch.slots() == 1  # one waits for a node to come


@pytest.mark.slow
def test_the_dataset_comes_once_to_each_node(tmp_path):
    """40 real networks on two nodes: the bytes that Ray counts in each object store are those of one dataset."""
    facts = happened(tmp_path, "networks", 40)
    assert {row["state"] for row in facts["rows"]} <= {"done", "refused"}
    trained = [row for row in facts["rows"] if row["state"] == "done" and row["duplicate_of"] is None]
    assert len(trained) == 40
    assert busiest(trained).keys() == {row["node"] for row in trained}
    assert len(busiest(trained)) == 2
    assert max(busiest(trained).values()) <= SLOTS
    for address in ("127.0.0.2", "127.0.0.3"):
        came = facts["after"][address][1] - facts["before"][address][1]
        print(f"{address}: {came:,} bytes, the dataset is {facts['bytes']:,}")
        assert facts["bytes"] <= came < 1.1 * facts["bytes"]
