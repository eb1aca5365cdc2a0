"""Shares of a GPU, nodes and slots, forecasts, and a budget of GPU hours that is kept: without a GPU."""

import heapq
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ray import tune
from torch import nn

import raynas
from raynas.cli.plan import _lines
from raynas.data import load
from raynas.results.results import Results
from raynas.results.store import Store
from raynas.rng import stream
from raynas.run.cluster import check_ends
from raynas.run.course import Course, course
from raynas.run.drive import SearchFailed
from raynas.run.experiment import Budget, Experiment
from raynas.run.final import train
from raynas.run.forecast import forecast, interval, sum_up
from raynas.run.ledger import Ledger
from raynas.run.nodes import Node, largest, slots
from raynas.run.paces import TOGETHER, together
from raynas.run.places import on_each, places
from raynas.run.plan import make_plan
from raynas.run.sharing import GIB, MARGIN, SHARES, candidates, decide, measured_share, share_for
from raynas.searchers import SEARCHERS
from raynas.settings import check, construct
from raynas.space import read
from raynas.tables import InputError
from raynas.train.memory import Peak, data_bytes, estimated_memory, peak_memory, saved_bytes, weight_bytes
from raynas.train.own import OwnTraining
from raynas.train.pace import Pace, network_pacing, own_pacing, pace
from raynas.train.recipe import Recipe
from raynas.train.share import CONTEXT, Share, memory_fraction

# -- a budget of GPU hours -----------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def open_ledger(folder, hours, share, clock, most_epochs=None):
    space = read({"x": tune.uniform(0.0, 1.0)})
    path = folder / "store.db"
    if not path.exists():
        spec = {"space": space.spec(), "objective": {"fitness": "accuracy"}}
        row = {"name": "test", "spec": spec, "seed": 0, "data": None, "fingerprints": {}}
        Store.create(path, row).close()
    store = Store.open(path, writable=True)
    searcher = construct(SEARCHERS["random"], {}, "search", space, 0)
    given = {"most_epochs": most_epochs, "clock": clock}
    resources = {"cpu": 1.0, "gpu": share}
    ledger = Ledger(store, folder, space, searcher, Budget(gpu_hours=hours), 0, resources, keep=0, **given)
    ledger.replay()
    return ledger


def run_out(ledger, clock, rng, *, slots, mean_s, epochs, tick=2.0, until=float("inf")):
    """Trials of random length on `slots` workers, looked at every `tick` seconds as Tune's loop does, until the ledger has
    all let go. Returns the seconds that trials really ran."""
    held, running, paces = 0.0, [], {}
    while clock.now < until:
        while len(running) < slots and not isinstance(trial := ledger.next(), str):
            pace = paces.setdefault(trial.number, float(rng.gamma(2.0, mean_s / 2)) / epochs)
            heapq.heappush(running, (clock.now + pace, trial.number, clock.now))
        if not running or ledger.must_stop:
            break
        clock.now = min(clock.now + tick, max(running[0][0], clock.now))
        while running and running[0][0] <= clock.now:
            due, number, began = heapq.heappop(running)
            trial = ledger.trials[number]
            held += due - began
            ledger.hear(number, trial.attempt, trial.epoch + 1, {}, 0.5, due - began)
            if trial.epoch == epochs:
                ledger.end(number, trial.attempt, "done")
            else:
                heapq.heappush(running, (due + paces[number], number, due))
    held += sum(clock.now - began for _, _, began in running)
    ledger.close()
    ledger.store.close()
    return held


@pytest.mark.parametrize("run", range(20))
def test_the_budget_of_gpu_hours_is_kept_and_used(tmp_path, run):
    """Less than 5 % more than was granted, more than 90 % of it used; in two sessions as in one."""
    rng, clock = stream(run), Clock()
    share, slots = float(rng.choice([0.125, 0.25, 0.5, 1.0, 2.0])), int(rng.integers(1, 17))
    epochs, mean_s = int(rng.integers(1, 12)), float(rng.uniform(200, 2000))
    hours = float(rng.uniform(2, 6)) * slots * mean_s * share / 3600
    given = {"slots": slots, "mean_s": mean_s, "epochs": epochs}
    held = 0.0
    if run % 2:
        first = open_ledger(tmp_path, hours, share, clock, epochs)
        held += run_out(first, clock, rng, until=hours * 3600 / share / slots / 2, **given)
    ledger = open_ledger(tmp_path, hours, share, clock, epochs)
    held += run_out(ledger, clock, rng, **given)
    assert 0.9 < held * share / 3600 / hours < 1.05
    assert ledger.reason == f"the budget of {hours:g} GPU hours is used up"
    assert Results(tmp_path / "store.db").trials["seconds"].sum() == pytest.approx(held, rel=0.01)
    again = open_ledger(tmp_path, hours, share, clock, epochs)
    assert again.next() == "end"  # although some were let go half-way: they wait for a larger budget
    again.store.close()
    larger = open_ledger(tmp_path, 3 * hours, share, clock, epochs)
    let_go = [trial.number for trial in larger.queue]
    assert let_go
    assert larger.next().number == let_go[0]


def test_no_trial_starts_when_those_that_run_need_the_rest(tmp_path):
    clock = Clock()
    ledger = open_ledger(tmp_path, hours=1.0, share=1.0, clock=clock)
    first = ledger.next()
    clock.now = 1500.0
    ledger.hear(first.number, 1, 1, {}, 0.5, 1500.0)
    ledger.end(first.number, 1, "done")
    second = ledger.next()  # as long as the first, as far as is known
    third = ledger.next()  # 3,000 of 3,600 s are spoken for: there is room
    assert ledger.next() == "wait"  # 4,500 are
    clock.now = 1600.0
    ledger.hear(second.number, 1, 1, {}, 0.5, 100.0)
    ledger.end(second.number, 1, "done")
    assert not ledger.must_stop
    clock.now = 1500.0 + 1999.0
    assert third.number in ledger.out
    assert not ledger.must_stop
    clock.now += 2.0
    assert ledger.must_stop
    ledger.close()
    rows = Results(tmp_path / "store.db").trials
    assert rows["seconds"].tolist() == [1500.0, 100.0, 2001.0]
    assert rows["state"].tolist() == ["done", "done", "queued"]


# -- memory --------------------------------------------------------------------------------------------------------

GENOMES = {
    "architecture": raynas.Genome(layers=[4, 5], filters=[5, 12], kernels=[1, 3], reductions=2),
    "lr": tune.loguniform(1e-3, 1e-2),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_what_backward_needs_of_a_perceptron(device, batch):
    """By hand: the input, the activation (once, though ReLU and the next layer both keep it), the log-probabilities, and
    the labels and the mean's weight of the loss."""
    with torch.device(device):
        network = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 10))
        images, labels = torch.ones(batch, 20), torch.zeros(batch, dtype=torch.int64)
        found = saved_bytes(network, images, labels, Recipe())
    assert found == 4 * batch * (20 + 30 + 10) + 8 * batch + 4


@pytest.mark.parametrize(("optimizer", "states"), [("sgd", 1), ("adam", 2), ("adamw", 2)])
def test_what_weights_need(optimizer, states):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    weights, buffers = 3 * 8 * 9 + 8 + 8 + 8, 4 * (8 + 8) + 8
    assert weight_bytes(network, Recipe(optimizer=optimizer)) == 4 * weights * (2 + states) + buffers
    network[0].requires_grad_(False)
    assert weight_bytes(network, Recipe(optimizer=optimizer)) == 4 * weights + 4 * 16 * (1 + states) + buffers
    assert weight_bytes(network, Recipe(optimizer="sgd", momentum=0.0)) == 4 * weights + 4 * 16 + buffers


def test_more_of_anything_takes_more_memory():
    data = load("fashion_mnist_mini")
    config = {"architecture": "NC 8 3 relu;NC 8 3 relu;FL relu"}
    wider = {"architecture": "NC 16 3 relu;NC 16 3 relu;FL relu"}
    deeper = {"architecture": "NC 8 3 relu;NC 8 3 relu;NC 8 3 relu;FL relu"}

    def size(config, **training):
        return estimated_memory(config, data, {"batch_size": 512, **training})

    assert size(config) < size(deeper) < size(wider)
    assert size(config, optimizer="sgd") < size(config, optimizer="adamw")
    assert size(config, batch_size=1) == size(config, batch_size=2) < size(config)  # 500 images of an evaluation
    four, eight, twelve = (size(config, batch_size=count * 1024) for count in (4, 8, 12))
    assert eight - four == twelve - eight > 4 * 1024 * 4 * 28 * 28 * 16  # two maps of 8 channels an image, and more
    peak = peak_memory(config, data, {"batch_size": 512}, torch.device("cpu"))
    assert peak.estimated
    assert peak.needed == size(config) + data_bytes(data)
    assert data_bytes(data) == 5000 * (28 * 28 + 8)


@pytest.mark.parametrize("free", [8 * GIB, 24 * GIB, 80 * GIB])
@pytest.mark.parametrize("peak", [0, GIB // 4, GIB, 3 * GIB, 7 * GIB, 30 * GIB, 100 * GIB])
def test_all_who_share_a_gpu_fit_into_it(free, peak):
    share = share_for(peak, free)
    needed = peak * MARGIN + CONTEXT
    if share is None:
        assert needed > free
    else:
        assert needed / share <= free
        assert share == SHARES[0] or needed / (share / 2) > free  # and no smaller one would do


@pytest.mark.parametrize("gpu", [0.125, 0.25, 0.5])
@pytest.mark.parametrize("held", [0, 2 * GIB, 12 * GIB])
def test_what_processes_may_take_together_is_there(gpu, held):
    """Tensors and CUDA's contexts of all that share a GPU, on which other programs hold some memory."""
    total = 24 * GIB
    fraction = memory_fraction(gpu, total - held, total)
    assert held + (fraction * total + CONTEXT) / gpu <= total * 1.0001
    assert memory_fraction(gpu, total // 100, total) == 0.0  # less than a context


def test_a_process_sets_its_limits(monkeypatch):
    said = {}
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: SimpleNamespace(total_memory=24 * GIB))
    monkeypatch.setattr("torch.cuda.set_per_process_memory_fraction", lambda part, device: said.update({device: part}))
    assert Share(1, 1.0).device().type == "cuda"
    assert not said  # the whole of it
    device = Share(1, 0.25).device()
    assert said == {device: pytest.approx(0.25 - CONTEXT / (24 * GIB))}
    Share(1, 0.25, 16 * GIB).device()  # others hold a third of it
    assert said == {device: pytest.approx((4 * GIB - CONTEXT) / (24 * GIB))}
    with pytest.raises(InputError, match=r"a share of 0\.02 of a GPU with 24\.0 GiB leaves a trial nothing"):
        Share(1, 0.02).device()


PREPARED = """
import sys
from raynas.train.own import OwnTraining
from raynas.train.share import Share

def imports_it(config):
    import torch
    yield {"drawn": torch.rand(1).item(), "threads": torch.get_num_threads()}

def needs_none(config):
    yield {"drawn": 0.0}

list(OwnTraining(needs_none)({}, None, 7, Share()))
assert "torch" not in sys.modules
first, second, other = (next(OwnTraining(imports_it)({}, None, seed, Share())) for seed in (7, 7, 8))
assert first["drawn"] == second["drawn"] != other["drawn"], (first, second, other)
assert first["threads"] == 1
"""


def test_a_function_that_imports_torch_itself_is_seeded_from_its_first_trial():
    """In a process that has no torch yet, as that of a trial."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", PREPARED], check=True, env=environment)


# -- nodes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "cpu", "gpu", "room"),
    [
        ([Node(3), Node(3)], 2, 0, 2),  # by the sums it would be 3
        ([Node(4), Node(4, 2)], 1, 0, 8),  # without a GPU anywhere
        ([Node(64), Node(4, 2)], 1, 0.25, 4),  # with one only where there are some
        ([Node(64), Node(16, 2)], 1, 0.25, 8),
        ([Node(8, 1), Node(8, 1)], 2, 0.4, 4),  # two on a GPU, not two and a half
        ([Node(8, 1), Node(8, 1)], 1, 2, 0),  # no trial spans nodes
        ([Node(8, 5)], 1, 2, 2),
        ([Node(1, 1)], 2, 0.25, 0),
        ([Node(0.3)], 0.1, 0, 3),
        ([], 1, 0, 0),
    ],
)
def test_slots_are_counted_node_by_node(nodes, cpu, gpu, room):
    assert slots(nodes, cpu, gpu) == room


def test_the_largest_node_is_the_one_to_compare_with():
    nodes = [Node(64), Node(8, 1), Node(4, 2)]
    assert (largest(nodes, 0.0), largest(nodes, 0.5)) == (nodes[0], nodes[2])
    assert str(nodes[1]) == "8 CPU and 1 GPU"


def granted(monkeypatch, nodes, **wanted):
    from raynas.run.cluster import grant
    from raynas.run.experiment import Resources

    monkeypatch.setattr("raynas.run.cluster.nodes", lambda: nodes)
    return grant(check(Resources, wanted, "resources"))


def test_a_grant_on_mixed_nodes(monkeypatch):
    mixed = [Node(32), Node(8, 4)]
    assert granted(monkeypatch, mixed) == ({"cpu": 1.0, "gpu": 1.0}, 4)
    assert granted(monkeypatch, mixed, gpu=0) == ({"cpu": 1.0, "gpu": 0.0}, 40)
    assert granted(monkeypatch, mixed, gpu=0.25, concurrency=3) == ({"cpu": 1.0, "gpu": 0.25}, 3)
    assert granted(monkeypatch, mixed, workers=3, gpu=1) == ({"cpu": 1.0, "gpu": 1.0, "workers": 3}, 1)
    on_demand = {"gpu": 8, "autoscaled": True, "concurrency": 5}
    assert granted(monkeypatch, mixed, **on_demand) == ({"cpu": 1.0, "gpu": 8.0}, 5)
    assert granted(monkeypatch, [Node(0)], **on_demand) == ({"cpu": 1.0, "gpu": 8.0}, 5)


@pytest.mark.parametrize("gpu", [{}, {"gpu": "auto"}])
def test_gpus_that_are_to_come_are_not_taken_for_none(monkeypatch, gpu):
    with pytest.raises(InputError, match="no GPU is here yet"):
        granted(monkeypatch, [Node(16)], autoscaled=True, concurrency=4, **gpu)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (
            {"gpu": 8},
            "asks for 1 cpu and 8 gpu on one node, and this Ray has 2 nodes, of which the largest has 8 CPU and 4",
        ),
        ({"cpu": 16, "gpu": 0.5}, "of which the largest has 8 CPU and 4 GPU; lower resources.cpu"),
        ({"cpu": 64, "gpu": 0}, "of which the largest has 32 CPU and 0 GPU"),
        ({"workers": 6, "gpu": 1}, "6 workers of 1 cpu and 1 gpu are asked for, and this Ray has room for 4"),
        ({"gpu": "half"}, "a number of GPUs, 0 or more, or 'auto', got 'half'"),
        ({"gpu": -1}, "0 or more"),
        ({"gpu": 2.5}, "whole number"),
        ({"autoscaled": True}, "say concurrency"),
    ],
)
def test_what_no_node_can_give_is_said_at_once(monkeypatch, wanted, said):
    with pytest.raises(InputError, match=said):
        granted(monkeypatch, [Node(32), Node(8, 4)], **wanted)


# -- a share of a GPU, measured ------------------------------------------------------------------------------------


def planned(**settings):
    given = {"space": read(GENOMES).spec(), "data": "fashion_mnist_mini", "search": "random"}
    return make_plan(check(Experiment, {**given, **settings}, "experiment"))


def test_the_largest_candidates_are_measured():
    plan = planned(limits=["params <= 4000"])
    found = candidates(plan, 3)
    sizes = [estimated_memory(config, plan.dataset, {}) for config in found]
    assert sizes == sorted(sizes, reverse=True)
    assert all(plan.cost(config)["params"] <= 4000 for config in found)
    some = [estimated_memory(plan.space.sample(stream(0, 3, number)), plan.dataset, {}) for number in range(10)]
    assert sizes[0] >= sorted(some)[5]


@pytest.mark.parametrize(
    ("budget", "gpu", "ends"),
    [
        ({"gpu_hours": 1, "trials": None}, 0.0, False),
        ({"gpu_hours": 1, "trials": None}, 0.25, True),
        ({"gpu_hours": 1, "trials": 3}, 0.0, True),
        ({"gpu_hours": 1, "trials": None, "wall_time_s": 9}, 0.0, True),
    ],
)
def test_a_budget_ends_or_is_refused(budget, gpu, ends):
    with nullcontext() if ends else pytest.raises(InputError, match="never ends"):
        check_ends(check(Budget, budget, "budget"), gpu)


def test_resuming_without_a_gpu_does_not_run_for_ever(ray_here, tmp_path):
    import trainings

    given = {"objective": "score", "search": "random", "home": tmp_path, "progress": False, "name": "mine"}
    raynas.search({"x": tune.uniform(0, 1)}, trainings.once, trials=1, **given)
    changed = ["budget.trials=null", "budget.gpu_hours=1", "resources.gpu=0"]
    with pytest.raises(InputError, match="never ends"):
        raynas.resume("mine", trainings.once, overrides=changed, home=tmp_path, progress=False)


def test_without_a_gpu_auto_is_none():
    plan = planned(resources={"gpu": "auto"})
    assert measured_share(plan, [Node(4), Node(8, 0.5)]).gpu == 0.0
    assert str(measured_share(plan, [Node(4)])) == "gpu: auto is 0: this Ray has no GPU"


A100, T4 = (80 * GIB, "A100"), (15 * GIB, "T4")


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("needed", "free", "share"),
    [
        ((1 * GIB, 0), (79, 14), 0.25),  # of the T4; the A100 alone would do with 1/8
        ((1 * GIB, 2 * GIB), (79, 14), 0.25),
        ((2 * GIB, 3 * GIB), (79, 14), 0.5),  # the largest peak, wherever it was met
        ((3 * GIB, 1 * GIB), (79, 14), 0.5),
        ((3 * GIB, 1 * GIB), (8, 14), 1.0),  # others hold most of the A100
    ],
)
def test_the_gpu_with_the_least_memory_decides(order, needed, free, share):
    nodes = [Node(8, 4), Node(8, 1)]
    kinds = [A100, T4]
    peaks = [[Peak(peak, gib * GIB, total, name)] for peak, gib, (total, name) in zip(needed, free, kinds, strict=True)]
    peaks[0].append(Peak(GIB // 2, (free[0] + 1) * GIB, *A100))
    found = decide(nodes[::order], peaks[::order], 5)
    smaller = min(free)
    assert (found.gpu, found.peak_bytes, found.free_bytes) == (share, max(needed), smaller * GIB)
    assert f"of {smaller}.0 GiB {kinds[free.index(smaller)][1]}, the least of 2 nodes (one GPU a node" in str(found)
    assert "least" not in str(decide(nodes[1:], peaks[1:], 5))
    assert "one GPU" not in str(decide(nodes[1:], peaks[1:], 5))
    with pytest.raises(InputError, match="takes 14.00 GiB, and a GPU, a T4, has 14.00 GiB free"):
        decide(nodes, [[Peak(14 * GIB, 79 * GIB, *A100)], [Peak(0, 14 * GIB, *T4)]], 5)


def test_gpus_that_cuda_does_not_see_have_the_memory_of_their_node():
    nodes = [Node(8, 4, memory=64 * GIB), Node(8, 1, memory=8 * GIB)]
    found = decide(nodes, [[Peak(3 * GIB)], [Peak(0)]], 5)
    assert (found.gpu, found.free_bytes, found.estimated) == (0.5, 8 * GIB, True)  # no context of CUDA: 3.75 of 4
    mixed = decide(nodes, [[Peak(3 * GIB)], [Peak(0, 9 * GIB, *T4)]], 5)
    assert (mixed.gpu, mixed.free_bytes, mixed.estimated) == (0.5, 9 * GIB, False)


def test_another_device_measures_the_largest_candidate(monkeypatch):
    from raynas.run import sharing as module

    data = load("fashion_mnist_mini")
    configs = [{"architecture": f"NC {filters} 3 relu;FL relu"} for filters in (8, 4)]
    monkeypatch.setattr("raynas.data.store.fetch", lambda shared: data)
    seen = {known: module._peaks(None, configs, {}, known) for known in ("", "T4", "cpu")}
    assert [peak.needed for peak in seen["cpu"]] == [0]
    assert len(seen["T4"]) == len(seen[""]) == 2
    assert seen[""][0].needed > seen[""][1].needed > 0


def test_all_are_measured_on_one_node_and_the_largest_on_the_others(monkeypatch):
    from raynas.run import sharing as module

    asked = []

    class Task:
        def options(self, scheduling_strategy):
            return self

        def remote(self, shared, configs, training, known):
            return configs, known

    def answered(there, cpu, gpu, start):
        asked.append((there, cpu, gpu, *start("a place")))
        return [[Peak(5, 1, 9, "A"), Peak(7, 1, 9, "A")]] if len(asked) == 1 else [[Peak(8, 1, 9, "B")]] * len(there)

    monkeypatch.setattr("ray.remote", lambda **resources: lambda function: Task())
    monkeypatch.setattr("raynas.data.store.share", lambda dataset: None)
    monkeypatch.setattr(module, "on_each", answered)
    nodes = [Node(8, 1, id=name) for name in "abc"]
    found = module._measured(planned(resources={"cpu": 2, "gpu": "auto"}), nodes, ["small", "large"])
    assert asked[0] == (nodes[:1], 2.0, SHARES[0], ["small", "large"], "")
    assert asked[1] == (nodes[1:], 2.0, SHARES[0], ["large"], "A")
    assert [len(each) for each in found] == [2, 1, 1]


@pytest.mark.slow
def test_every_node_with_gpus_is_looked_at():
    """Three nodes, two of them with GPUs that Ray pretends; what is asked of each runs there."""
    import ray

    from raynas.bench.machines import add_node, machines
    from raynas.run.nodes import nodes
    from raynas.run.sharing import _measured

    if ray.is_initialized():
        pytest.skip("this process uses another Ray")
    with machines(2, cpus=1, gpus=2) as cluster:
        add_node(cluster, 9, cpus=1, gpus=0)
        there = sorted((node for node in nodes() if node.gpu), key=lambda node: node.address)
        assert [node.address for node in there] == ["127.0.0.2", "127.0.0.3"]
        task = ray.remote(num_cpus=1, num_gpus=0.125)(lambda: ray.get_runtime_context().get_node_id())
        for order in (there, there[::-1]):
            where = on_each(order, 1.0, 0.125, lambda place: task.options(scheduling_strategy=place).remote())
            assert where == [node.id for node in order]
            with places(0.5, 0.25, 2, order[0]) as found:
                halves = [task.options(num_cpus=0.5, num_gpus=0.25, scheduling_strategy=place) for place in found]
                assert ray.get([half.remote() for half in halves]) == [order[0].id] * 2
        plan = planned(resources={"gpu": "auto"})
        configs = candidates(plan, 2)
        found = _measured(plan, there, configs)
        assert [len(each) for each in found] == [2, 1]  # the same device: only what is free
        assert found[1][0].needed == 0
        sharing = measured_share(plan)
        assert (sharing.nodes, sharing.gpus) == (2, 4)
        assert sharing.free_bytes == round(min(node.memory / 2 for node in there))


def test_what_no_node_can_give_is_said_before_it_is_measured(ray_here, monkeypatch):
    from raynas.run import drive

    monkeypatch.setattr(drive, "measured_share", lambda plan: pytest.fail("it was measured"))
    with pytest.raises(InputError, match="a trial asks for 64 cpu"):
        drive._granted(planned(resources={"cpu": 64, "gpu": "auto"}), False)


def test_auto_is_for_networks(tmp_path):
    import trainings

    with pytest.raises(InputError, match="say the share of a trainable of your own, e.g. 0.5"):
        raynas.search({"x": tune.uniform(0, 1)}, trainings.parabola, gpu="auto", home=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_search_with_measured_shares(ray_here, tmp_path, capsys):
    given = {"data": "fashion_mnist_mini", "search": "random", "trials": 1, "epochs": 1, "home": tmp_path}
    results = raynas.search(GENOMES, gpu="auto", **given)
    (row,) = stored(results)
    assert row["resources"]["gpu"] in SHARES
    assert 0 < row["resources"]["peak_bytes"] < row["resources"]["free_bytes"]
    said = capsys.readouterr().out
    assert f"gpu: auto is {row['resources']['gpu']:g}: the largest of 5 candidates that were looked at takes" in said
    assert "(estimated)" in said  # these GPUs are bookkeeping
    with pytest.raises(InputError, match="a candidate takes .* lower training.batch_size"):
        raynas.search(GENOMES, gpu="auto", training={"batch_size": 50_000_000}, name="large", **given)
    assert not (tmp_path / "large").exists()


def stored(results):
    from raynas.results.schema import trials

    store = Store.open(results.path)
    try:
        return store.rows(trials)
    finally:
        store.close()


# -- one trial on several workers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [12, 24])
def test_the_parts_of_a_batch_make_the_batch(world, size):
    """Every worker has as many images, none twice, none that another has; together the batch of one process, but for a rest
    of the last."""
    from raynas.data.batches import Batches
    from raynas.data.dataset import Split
    from raynas.train.parallel import Part

    images = np.arange(101, dtype=np.uint8).reshape(101, 1, 1, 1)
    split = Split(images, np.arange(101, dtype=np.int64))
    whole = Batches(split, np.zeros(1), np.ones(1), torch.device("cpu"))
    parts = [Part(whole, rank, world, 7) for rank in range(world)]
    for epoch in (0, 1):
        batches = [[labels.tolist() for _, labels in part.epoch(size, 99, epoch)] for part in parts]
        assert {len(found) for found in batches} == {parts[0].steps(size)}
        for number, (_, labels) in enumerate(whole.epoch(size, 7, epoch)):
            if number == parts[0].steps(size):
                assert len(labels) // world < 2  # the rest is too few for all
                continue
            shares = [found[number] for found in batches]
            assert {len(share) for share in shares} == {len(labels) // world}
            kept = len(labels) // world * world
            assert sorted(index for share in shares for index in share) == sorted(labels[:kept].tolist())
    assert [labels.tolist() for _, labels in parts[0].epoch(size, 0, 0)] != [
        labels.tolist() for _, labels in parts[0].epoch(size, 0, 1)
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"training": {"batch_size": 127}}, "batch_size 127 is not divisible by 2"),
        ({"stop": "asha"}, "stop is none"),
        ({"limits": ["latency_ms <= 5"]}, "latency is measured by one process"),
        ({"resources": {"workers": 2, "gpu": 0.5}}, "whole GPUs or none, got 0.5"),
        ({"resources": {"workers": 2, "gpu": "auto"}}, "gpu: auto is for one"),
    ],
)
def test_what_workers_cannot_share_is_said(settings, said):
    with pytest.raises(InputError, match=said):
        planned(**{"resources": {"workers": 2, "gpu": 0}, **settings})


SUPERNET = {"oneshot": {"name": "enas", "layers": 1, "channels": 4, "stem_stride": 2}, "space": "enas_micro"}


@pytest.mark.parametrize("of", [{}, {"resources": {"gpu": 2, "workers": 2}}, SUPERNET])
def test_a_network_of_raynas_holds_no_gpus_that_it_does_not_use(of):
    with pytest.raises(InputError, match=r"resources.gpu=2 would keep 1 idle.*train NAME --workers 2"):
        planned(**{"resources": {"gpu": 2}, **of})
    for gpu in (0, 0.5, 1, None):
        assert planned(**{**of, "resources": {"gpu": gpu}}).experiment.resources.gpu == gpu


def test_a_plan_of_a_function_that_raises_says_what(ray_here):
    spec = {"space": {"x": {"uniform": [0.0, 1.0]}}, "trainable": "trainings:small", "objective": "score"}
    with pytest.raises(SearchFailed, match=r"a candidate failed: \{'x': (?s:.*)ValueError: x is small"):
        forecast({**spec, "training": {"epochs": 1}, "budget": {"trials": 4}})


def test_a_trainable_of_ones_own_may_hold_several_gpus():
    made = check(
        Experiment,
        {
            "space": {"x": {"uniform": [0, 1]}},
            "trainable": "trainings:once",
            "objective": "score",
            "resources": {"gpu": 2},
        },
        "experiment",
    )
    assert make_plan(made).experiment.resources.gpu == 2


@pytest.mark.slow
def test_two_workers_train_as_one(ray_here, tmp_path):
    """The same curve but for rounding, the same weights, and on from a checkpoint; the search's trial gives the config."""
    given = {"data": "fashion_mnist_mini", "search": "random", "trials": 1, "gpu": 0.0, "home": tmp_path}
    given |= {"training": {"epochs": 2, "precision": "float32"}, "progress": False}
    alone = raynas.search(GENOMES, cpu=0.5, name="alone", **given)
    resources = {"cpu": 0.5, "gpu": 0.0}
    both = train(alone, workers=2, resources=resources, home=tmp_path, progress=False)
    assert both.name == "alone-trained"
    assert both.experiment["ended"] == "all 1 trials are done"
    for metric in ("train_loss", "val_loss", "val_accuracy", "lr_last"):
        assert both.curves[metric].tolist() == pytest.approx(alone.curves[metric].tolist(), rel=2e-3)
    assert both.curves["train_loss"].tolist() != alone.curves["train_loss"].tolist()  # it did run otherwise
    one, two = raynas.model(alone), raynas.model(both)
    for left, right in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.allclose(left, right, atol=2e-3)
    (row,) = stored(both)
    assert row["resources"] == {"cpu": 0.5, "gpu": 0.0, "workers": 2}
    assert raynas.verify(both).images == 1000


# -- a plan --------------------------------------------------------------------------------------------------------


def test_what_asha_and_hyperband_keep():
    """Trials that all train are all of it; the rules train less, and less the harder they halve. One worker's ASHA on curves
    that never cross keeps what successive halving does: 1/3 of the trials reach epoch 3, 1/9 epoch 9, 1/27 epoch 27."""
    kept = {
        name: course(planned(stop=stop, training={"epochs": 27}, budget={"trials": 81}), 81, 4, 27).kept
        for name, stop in {
            "none": "none",
            "median": "median",
            "asha": "asha",
            "asha 9": {"name": "asha", "reduction": 9},
            "hyperband": "hyperband",
        }.items()
    }
    assert kept["none"] == 1.0
    assert kept["asha 9"] < kept["asha"] < kept["median"] < 1.0
    halving = (1 * 2 / 3 + 3 * 2 / 9 + 9 * 2 / 27 + 27 / 27) / 27
    assert halving < kept["asha"] < 2.5 * halving  # the first to come to a rung are let through
    assert 0.1 < kept["hyperband"] < 0.7


def paces(*seconds, epochs=10):
    return [Pace(each, 1.0, epochs) for each in seconds]


def summed(plan, gpu=0.25, slots=4, seconds=(90.0, 110.0, 100.0, 95.0, 105.0, 100.0)):
    return sum_up(plan, {"cpu": 2.0, "gpu": gpu}, slots, paces(*seconds), None, GIB)


def test_a_plan_adds_up():
    found = summed(planned(budget={"trials": 40}))
    assert (found.trials, found.bound_by, found.kept) == (40, "trials", 1.0)
    mean, low, high = found.trial_s
    assert (mean, mean - low) == pytest.approx((1000.0, high - mean))
    assert mean - low == pytest.approx(2.571 * 70.71 / 6**0.5, rel=1e-3)
    assert found.wall_s[0] == pytest.approx(10_000 + 1)
    assert found.gpu_hours[0] == pytest.approx(40 * 1000 * 0.25 / 3600)
    assert found.cpu_hours[0] == pytest.approx(40 * 1000 * 2 / 3600)
    assert found.data_bytes < found.object_store_bytes
    assert found.trials_between == (40, 40)


@pytest.mark.parametrize(
    ("trials", "slots", "waves"), [(1, 4, 1), (4, 4, 1), (5, 4, 2), (8, 4, 2), (9, 4, 3), (2, 16, 1), (3, 1, 3)]
)
def test_trials_of_one_pace_run_in_waves(trials, slots, waves):
    """The last wave takes as long as a full one, and no trial is shorter for more room."""
    found = summed(planned(budget={"trials": trials}), slots=slots)
    assert found.wall_s[0] == pytest.approx(waves * 1000 + 1)
    assert found.cpu_hours[0] == pytest.approx(trials * 1000 * 2 / 3600)
    assert course(planned(stop="pbt", budget={"trials": trials}), trials, slots, 10).span(trials, slots) == max(
        1, trials / slots
    )  # who takes turns leaves no slot waiting for the last


@pytest.mark.parametrize("stop", ["asha", "hyperband", "median"])
def test_a_search_ends_with_its_last_trial(stop):
    """The slots are busy on average for what is trained, the last for longer: but no longer than for one whole trial more. One
    slot alone has no tail."""
    plan = planned(stop=stop, training={"epochs": 9}, budget={"trials": 30})
    for workers in (1, 4, 7, 30):
        found = course(plan, 30, workers, 9)
        busy = found.kept * 30 / workers
        assert max(1.0, busy) <= found.span(30, workers) <= busy + 1
        assert workers > 1 or found.tail == pytest.approx(0)
        assert found.span(60, workers) - found.span(30, workers) <= busy + 1e-9  # twice the trials, the same tail
    assert Course(0.5, 0.3).span(40, 4) == pytest.approx(5.3)


@pytest.mark.parametrize(
    ("budget", "trials", "bound_by"),
    [
        ({"gpu_hours": 10.0}, 144, "gpu_hours"),
        ({"wall_time_s": 3600.0}, 14, "wall_time_s"),
        ({"wall_time_s": 3600.0, "trials": 9, "gpu_hours": 1e3}, 9, "trials"),
    ],
)
def test_the_tightest_budget_says_how_many_trials(budget, trials, bound_by):
    found = summed(planned(budget=budget))
    assert (found.trials, found.bound_by) == (trials, bound_by)
    assert max(found.wall_s) <= budget.get("wall_time_s", float("inf"))
    assert max(found.gpu_hours) <= budget.get("gpu_hours", float("inf"))


def test_a_budget_that_bounds_leaves_the_number_of_trials_uncertain():
    """As many more as trials are shorter; what they take together is the budget."""
    seconds = (300.0, 20.0, 100.0, 60.0, 80.0, 40.0)
    found = summed(planned(budget={"gpu_hours": 10.0}), seconds=seconds)
    mean, low, high = found.trial_s
    assert (mean, low) == (1000.0, 200.0)  # not 0: none was shorter
    assert high == pytest.approx(1000 + 2.571 * np.std(seconds, ddof=1) * 10 / 6**0.5, rel=1e-3)
    assert found.gpu_hours == (10.0, 10.0, 10.0)
    assert (found.trials, found.trials_between) == (144, (int(144_000 / high), 720))
    trials = summed(planned(budget={"trials": 40}), seconds=seconds)
    assert trials.gpu_hours[1] / trials.gpu_hours[0] == pytest.approx(low / mean)
    assert trials.gpu_hours[2] / trials.gpu_hours[0] == pytest.approx(high / mean)
    both = summed(planned(budget={"trials": 200, "gpu_hours": 10.0}), seconds=seconds)
    assert (both.trials, both.trials_between[1], both.bound_by) == (144, 200, "gpu_hours")
    assert both.gpu_hours == pytest.approx((10.0, 200 * 200 * 0.25 / 3600, 10.0))
    one = summed(planned(budget={"gpu_hours": 0.01}), seconds=seconds)  # the first trial is let go
    assert (one.trials, one.gpu_hours[2]) == (1, 0.01)
    assert one.wall_s[2] == pytest.approx(0.01 * 3600 / 0.25 + 1)
    timed = summed(planned(budget={"wall_time_s": 3600.0}), seconds=seconds)
    assert timed.trials_between[0] < timed.trials < timed.trials_between[1]
    assert timed.cpu_hours == pytest.approx((8.0, 8.0, 8.0))


def test_a_trial_that_nobody_knows_the_length_of_is_not_guessed():
    given = [*paces(1.0, 2.0), *paces(1.0, epochs=0)]
    with pytest.raises(InputError, match="nothing says how many epochs it has: --epochs N"):
        sum_up(planned(), {"cpu": 1.0, "gpu": 0.0}, 1, given, None, GIB)


def test_the_interval_of_a_mean_of_durations():
    assert interval([5.0] * 6) == (5.0, 5.0, 5.0)
    mean, low, high = interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    assert (high - mean, mean - low) == pytest.approx((2.447 * np.std(range(7), ddof=1) / 7**0.5,) * 2, rel=1e-3)
    assert interval([1.0, 1.0, 1.0, 1.0, 1.0, 40.0])[1] == 1.0


# -- probes, timed together ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "gpu", "slots", "trials", "count"),
    [
        ([Node(2)], 0.0, 2, 20, 2),
        ([Node(16)], 0.0, 16, 20, 16),  # memory is shared by all of them
        ([Node(64), Node(8)], 0.0, 72, 100, TOGETHER),
        ([Node(16)], 0.0, 3, 20, 3),  # concurrency
        ([Node(16)], 0.0, 16, 5, 5),
        ([Node(16, 1)], 0.25, 4, 20, 4),
        ([Node(16, 1)], 0.125, 8, None, 8),
        ([Node(64, 8)], 0.3, 24, 99, 15),  # five full GPUs, none with one trial alone
        ([Node(8, 8)], 1.0, 8, 99, 8),
        ([Node(8, 8)], 2.0, 4, 99, 4),
        ([Node(1)], 1.0, 2, 9, 1),  # nodes are added on demand
    ],
)
def test_as_many_are_timed_at_once_as_share(nodes, gpu, slots, trials, count):
    assert together(nodes, 1.0, gpu, slots, trials) == count


@pytest.mark.parametrize("size", [128, 6000])
def test_the_pace_of_a_network(size):
    """Nothing is timed in the first step; an epoch of few batches is timed over several epochs."""
    config, data = {"architecture": "NC 2 1 relu;FL relu"}, load("fashion_mnist_mini")
    given = {"batch_size": size, "epochs": 7, "precision": "float32"}
    steps = network_pacing(config, data, given, torch.device("cpu"))
    assert next(steps) is None
    found = next(steps)
    assert found.epochs == 7
    assert found.epoch_s > 0
    assert found.start_s > 0
    assert next(steps, "over") == "over"


class Ticking:
    """A clock that only work moves on."""

    now = 0.0

    def perf_counter(self):
        return self.now


def test_an_epoch_is_its_training_and_its_evaluation(monkeypatch):
    """On a clock where a training batch takes 0.04 s and one of the evaluation 0.12 s, each three times as long the first
    time."""
    from raynas.train import pace as module

    clock, seen = Ticking(), {"train": 0, "evaluate": 0}
    data = load("fashion_mnist_mini")
    data = replace(data, validation=data.train)

    def trained(*_):
        seen["train"] += 1
        clock.now += 0.04 if seen["train"] > 1 else 0.12

    class Evaluating(nn.Linear):
        def forward(self, images):
            seen["evaluate"] += 1
            clock.now += (0.12 if seen["evaluate"] > 1 else 0.36) * len(images) / 500
            return images

    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "train_step", trained)
    monkeypatch.setattr(module, "build", lambda *_: Evaluating(1, 1))
    images, validation = len(data.train), len(data.validation)
    found = pace(network_pacing({}, data, {"batch_size": 100}, torch.device("cpu")))
    assert found.start_s == pytest.approx(0.16)
    assert found.epoch_s == pytest.approx(0.04 * images / 100 + 0.12 * validation / 500)
    assert 25 <= seen["train"] - 2 <= 26  # a second of them
    assert seen["evaluate"] == 2 < 1 + validation / 500  # and not all of these


@pytest.mark.parametrize(
    ("each_s", "reports", "said", "epoch_s", "epochs", "asked"),
    [
        (1.0, 9, 9, 1.0, 9, 2),  # the second is timed, the rest left
        (0.2, 9, 9, 0.2, 9, 6),
        (0.2, 3, 9, 0.2, 3, 3),  # it ends before
        (1.0, 5, None, 1.0, 5, 5),  # to its end
        (1.0, 99, None, 1.0, 0, 7),  # or for ten seconds
        (60.0, 99, 50, 63.0, 50, 1),  # what is slow is not run twice
        (0.1, 1, None, 3.1, 1, 1),
    ],
)
def test_the_pace_of_a_training_of_ones_own(monkeypatch, tmp_path, each_s, reports, said, epoch_s, epochs, asked):
    from raynas.train import pace as module

    clock, seen = Ticking(), []

    def training(config, checkpoint):
        clock.now += 3.0
        try:
            for number in range(reports):
                clock.now += each_s
                seen.append(number)
                yield {"score": 0.0}
        finally:
            seen.append("closed")

    monkeypatch.setattr(module, "time", clock)
    steps = own_pacing(OwnTraining(training), {}, tmp_path / "made", Share(), said)
    assert next(steps) is None
    assert seen == [0]
    found = next(steps)
    assert seen == [*range(asked), "closed"]
    assert (found.epoch_s, found.epochs) == (pytest.approx(epoch_s), epochs)
    assert found.start_s == pytest.approx(3.0 if asked > 1 else 0.0)


def test_probes_begin_together(ray_here, tmp_path):
    """Each is warm before any is timed, in each of the rounds; a training of one's own is planned like any other."""
    journal = tmp_path / "journal"
    spec = {"space": {"x": {"uniform": [0.0, 1.0]}, "journal": str(journal)}, "trainable": "trainings:noted"}
    resources = {"cpu": 1, "gpu": 0}
    found = forecast({**spec, "objective": "score", "budget": {"trials": 4}, "resources": resources})
    assert (found.together, found.probed, found.epochs, found.trials) == (2, 6, 2.0, 4)
    assert found.trial_s[0] == pytest.approx(2 * found.epoch_s[0])
    assert (found.data_bytes, found.peak_bytes, found.kept) == (0, 0, 1.0)
    assert "data" not in dict(_lines(found))
    lines = journal.read_text().split()
    assert lines[:2] + lines[4:6] + lines[8:10] == ["1"] * 6
    assert lines[2:4] + lines[6:8] + lines[10:] == ["2"] * 6


# -- room for probes -----------------------------------------------------------------------------------------------


def test_what_others_hold_is_waited_for_aloud(ray_here, monkeypatch):
    """The wait ends when they let go, which here is when it is said."""
    from raynas.run import places as module

    lines, holding = [], []

    def said(line):
        lines.append(line)
        holding.pop().__exit__(None, None, None)

    monkeypatch.setattr(module, "note", said)
    for waits in (alone, on_one_node):
        monkeypatch.setattr(module, "PATIENCE_S", 600.0)
        held = places(1.0, 1.0, 2)
        assert len(held.__enter__()) == 2
        holding.append(held)
        monkeypatch.setattr(module, "PATIENCE_S", 0.0)
        waits()
        assert not holding
    assert lines[0] == "waiting for 1 cpu and 0.5 gpu on this Ray: others hold them"
    assert lines[1].startswith("waiting for 1 cpu and 0.5 gpu on ")
    assert "this Ray" not in lines[1]


def test_what_is_waited_for_is_said_more_and_more_rarely(monkeypatch):
    from raynas.run import places as module

    clock, lines = Ticking(), []
    monkeypatch.setattr(module.time, "monotonic", clock.perf_counter)
    monkeypatch.setattr(module, "nodes", lambda: [Node(1, 1)])
    monkeypatch.setattr(module, "note", lambda line: lines.append(clock.now))
    waiting = module.Waiting(1.0, 0.5)
    for second in range(1300):
        clock.now = float(second)
        waiting.look()
    assert lines == [15, 45, 105, 225, 465, 945]


def alone():
    with places(1.0, 0.5, 1) as found:
        assert len(found) == 1


def on_one_node():
    import ray

    from raynas.run.nodes import nodes

    task = ray.remote(num_cpus=1, num_gpus=0.5)(lambda: ray.get_runtime_context().get_node_id())
    there = nodes()
    assert on_each(there, 1.0, 0.5, lambda place: task.options(scheduling_strategy=place).remote()) == [there[0].id]


def test_where_others_hold_some_fewer_are_timed_at_once(ray_here, monkeypatch):
    from raynas.run import places as module

    lines = []
    monkeypatch.setattr(module, "note", lines.append)
    with places(1.0, 0.0, 1):
        monkeypatch.setattr(module, "PATIENCE_S", 0.0)
        with places(1.0, 0.0, 2) as found:
            assert len(found) == 1
    assert "others hold some of the room for 2 trials at once; trying 1" in lines
    monkeypatch.setattr(module, "PATIENCE_S", 600.0)
    with places(1.0, 0.0, 2) as found:  # all was given back
        assert len(found) == 2


def test_what_no_node_can_ever_give_is_not_waited_for(ray_here, monkeypatch):
    from raynas.run import places as module
    from raynas.run.nodes import nodes

    lines, there = [], nodes()
    with (
        pytest.raises(InputError, match="could ever give 64 cpu and 0 gpu on this Ray: .* CPU and 2 GPU"),
        places(64, 0, 1),
    ):
        pass
    with pytest.raises(InputError, match="could ever give 1 cpu and 0.5 gpu on 10.0.0.9: it is gone"):
        on_each([Node(1, 1, id="gone", address="10.0.0.9")], 1.0, 0.5, lambda place: place)
    monkeypatch.setattr(module, "note", lines.append)
    looks = iter([there, there, []])  # the node goes while it is waited for
    monkeypatch.setattr(module, "PATIENCE_S", 600.0)
    with places(1.0, 1.0, 2):
        monkeypatch.setattr(module, "PATIENCE_S", 0.0)
        monkeypatch.setattr(module, "nodes", lambda: next(looks))
        with pytest.raises(InputError, match="could ever give"), places(1.0, 0.5, 1):
            pass
    assert set(lines) == {"waiting for 1 cpu and 0.5 gpu on this Ray: others hold them"}
    monkeypatch.setattr(module, "nodes", list)  # none, but one may come
    with places(1.0, 0.0, 1, on_demand=True) as found:
        assert len(found) == 1


@pytest.mark.slow  # the README shows it, and its test runs it
def test_a_plan_on_ray(ray_here, tmp_path, monkeypatch):
    """Candidates are timed with the very resources; nothing is written; its numbers are what a search then takes."""
    import json

    from typer.testing import CliRunner

    from raynas.cli.main import app

    monkeypatch.chdir(tmp_path)
    options = [
        "--data",
        "fashion_mnist_mini",
        "--trials",
        "9",
        "--epochs",
        "3",
        "--stop",
        "asha",
        "limits=flops <= 2e6",
    ]
    done = CliRunner().invoke(app, ["plan", "genome_cnn", *options, "--gpu", "0.5", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["slots"], found["trials"], found["gpu"], found["epochs"]) == (2, 9, 0.5, 3.0)
    assert 0 < found["epoch_s"][1] < found["epoch_s"][0] < found["epoch_s"][2] or found["epoch_s"][1] == 0
    assert found["trial_s"][0] == pytest.approx(3 * found["epoch_s"][0])
    assert 0 < found["kept"] < 1
    assert 0 < found["peak_bytes"] < found["share_bytes"]
    assert found["estimated"]
    assert not list(tmp_path.iterdir())


def test_what_a_plan_prints():
    found = summed(planned(budget={"trials": 40}, stop="asha", training={"epochs": 9}))
    said = dict(_lines(found))
    assert said["trials at once"] == "4, each with 2 CPU and 0.25 GPU"
    assert said["trials"] == "40 (the budget's trials)"
    assert said["an epoch"].endswith("from 6 sampled candidates")
    assert dict(_lines(replace(found, together=4)))["an epoch"].endswith("from 6 sampled candidates, 4 at once")
    hours = summed(planned(budget={"gpu_hours": 10}))
    assert dict(_lines(hours))["trials"] == "144 (134 to 155; the budget's gpu_hours)"
    assert dict(_lines(hours))["GPU-hours"] == "10"
    assert said["asha"].startswith(f"trains {found.kept:.0%} of all epochs")
    assert said["data"].startswith("3.8 MiB, of 1.0 GiB object store")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"oneshot": {"name": "enas", "layers": 1, "channels": 2}, "space": "enas_micro"},
            "cannot stop a supernet",
        ),
        ({"resources": {"workers": 2, "gpu": 0}}, "leave resources.workers out"),
    ],
)
def test_what_cannot_be_planned_is_said(settings, said):
    given = {"space": read(GENOMES).spec(), "data": "fashion_mnist_mini", **settings}
    with pytest.raises(InputError, match=said):
        forecast({key: value for key, value in given.items() if value is not None})
