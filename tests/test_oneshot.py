"""Supernets: a child's path is the child's network; searches in them learn, resume and are derived from."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.nn.utils import parameters_to_vector

import raynas
from raynas.data import load
from raynas.data.batches import Batches
from raynas.models import build
from raynas.oneshot.families import FAMILIES
from raynas.oneshot.statistics import forget_statistics
from raynas.rng import stream
from raynas.run.derive import derived_spec, found
from raynas.run.experiment import Experiment
from raynas.run.plan import make_plan, spec_of
from raynas.run.score import score
from raynas.settings import check
from raynas.space import read
from raynas.tables import InputError
from raynas.train.enas import METRICS, Enas, EnasTraining, Pair, Search
from raynas.train.recipe import Recipe

SHAPE = (1, 16, 16)
MICRO = {
    "model": "enas_micro",
    "normal": {"micro_cell": {"nodes": 2}},
    "reduction": {"micro_cell": {"nodes": 2}},
}
MACRO = {"model": "enas_macro", "architecture": {"macro": {"layers": 4}}}
SPACES = {"micro": read("enas_micro"), "macro": read("enas_macro")}
SMALL = {"micro": {"channels": 4, "layers": 3}, "macro": {"channels": 4}}


def search_of(kind, seed=0, **changes):
    torch.manual_seed(seed)
    options = Enas(space=f"enas_{kind}", **{**SMALL[kind], "dropout": 0.0, **changes})
    return Search(SPACES[kind], options, Recipe(optimizer="sgd", lr=0.05), SHAPE, 10)


def drawn(search, count, seed=1):
    return search.draw(stream(seed).random((count, search.controller.decisions)))[1]


# -- the supernet ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SMALL)
@torch.no_grad()
def test_a_child_alone_computes_what_the_supernet_s_path_computes(kind):
    """50 arcs, with the weights handed over by name: the very same numbers."""
    search = search_of(kind)
    images = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    children = drawn(search, 50)
    assert len(set(map(str, children))) == 50
    for child in children:
        config = search.supernet.config(child)
        alone = build(config, SHAPE, 10)
        forget_statistics(alone)
        alone.load_state_dict(search.supernet.weights(child))
        assert SPACES[kind].contains({"model": f"enas_{kind}", **search.supernet.architecture(child)})
        assert torch.equal(alone(images), search.supernet(images, child))


@pytest.mark.parametrize("kind", SMALL)
def test_only_the_path_of_the_child_is_run_and_learns(kind):
    search = search_of(kind)
    ran = set()
    for name, part in search.supernet.named_modules():
        if not list(part.children()):
            part.register_forward_hook(lambda *_, name=name: ran.add(name))
    for child in drawn(search, 5):
        ran.clear()
        search.supernet.zero_grad(set_to_none=True)
        search.supernet(torch.randn(2, *SHAPE), child).sum().backward()
        learns = {name for name, value in search.supernet.named_parameters() if value.grad is not None}
        mine = {id(value) for value in search.supernet.weights(child).values()}
        named = {name for name, value in search.supernet.named_parameters() if id(value) in mine}
        named |= {name for name in learns if name.endswith(".project")}  # gathered: no parameter of the child's own
        assert learns == named
        of_candidates = [name for name in ran if ".candidates." in f".{name}"]
        count = sum(1 for _ in search.supernet.modules())
        assert 0 < len(of_candidates) < count / 4


def test_the_published_supernet_has_the_published_size():
    """5,373,140 weights: width 20, six layers, three channels (SEEDS.md B)."""
    with torch.device("meta"):
        supernet = FAMILIES["enas_micro"].supernet(SPACES["micro"], (3, 32, 32), 10, layers=6, channels=20)
    assert sum(parameter.numel() for parameter in supernet.parameters()) == 5_373_140


def test_a_child_of_a_supernet_does_not_know_the_others_batches():
    """Normalisation is by the batch, in training and evaluation alike: nothing else is kept."""
    search, images = search_of("micro"), torch.randn(4, *SHAPE)
    (child,) = drawn(search, 1)
    with torch.no_grad():
        first = search.supernet(images, child)
        search.supernet(10 * torch.randn(4, *SHAPE), child)
        search.supernet.eval()
        assert torch.equal(search.supernet(images, child), first)


# -- a search in one -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batches():
    data = load("fashion_mnist_mini")
    few = replace(data.train, images=data.train.images[:300], labels=data.train.labels[:300])
    return tuple(Batches(part, data.mean, data.std, torch.device("cpu")) for part in (few, data.validation))


@pytest.mark.parametrize("kind", SMALL)
def test_the_controller_learns_what_is_rewarded(kind, batches, monkeypatch):
    """With a planted reward, the share of the third operation, it is drawn more often (by the published bias no pool can be
    more likely than 0.44 at this tanh constant); the accuracy is not asked."""
    search = search_of(kind, aggregate=10, updates=50, controller_lr=0.03, tanh_constant=2.5, skip_weight=0.0)
    third = {"micro": lambda child: sum(op == "avg_pool_3x3" for cell in child for pair in cell for op, _ in pair) / 20}
    third["macro"] = lambda child: sum(op == "conv_5x5" for op, _ in child) / 12
    monkeypatch.setattr(search, "_accuracy", lambda images, labels, child: torch.tensor(third[kind](child)))
    before = sum(map(third[kind], drawn(search, 100))) / 100
    optimizer, baseline = search.optimizers().second, 0.0
    for epoch in range(2):
        metrics = search.train_controller(batches[1], optimizer, epoch, 0, baseline)
        baseline = metrics["baseline"]
    after = sum(map(third[kind], drawn(search, 100))) / 100
    assert after > before + 0.15


def test_skips_are_drawn_to_the_wanted_share(batches, monkeypatch):
    """The penalty alone brings a macro controller to 40 % of skips."""
    search = search_of("macro", aggregate=5, updates=100, controller_lr=0.01, skip_weight=5.0)
    monkeypatch.setattr(search, "_accuracy", lambda *_: torch.tensor(0.0))
    search.train_controller(batches[1], search.optimizers().second, 0, 0, 0.0)
    children = drawn(search, 200)
    share = sum(len(skips) for child in children for _, skips in child) / (200 * 66)
    assert share == pytest.approx(0.4, abs=0.03)


def test_the_baseline_moves_as_published(batches, monkeypatch):
    """baseline += (1 - decay) (reward - baseline) before it is used; the reward has a share of the entropy."""
    search = search_of("micro", aggregate=2, updates=1, baseline_decay=0.9, entropy_weight=0.0)
    monkeypatch.setattr(search, "_accuracy", lambda *_: torch.tensor(1.0))
    metrics = search.train_controller(batches[1], search.optimizers().second, 0, 0, 0.5)
    assert metrics["baseline"] == pytest.approx(1 - 0.5 * 0.9**2)
    assert metrics["reward"] == 1.0


@pytest.mark.parametrize("kind", SMALL)
def test_the_controller_moves_along_the_published_gradient(kind, batches, monkeypatch):
    """By hand: log-probabilities, each by its reward less the baseline; through the entropy in a reward nothing flows."""
    search = search_of(kind, aggregate=3, updates=1, baseline_decay=0.9, entropy_weight=0.1)
    with torch.no_grad():
        for parameter in search.controller.parameters():
            parameter.mul_(3.0)  # far from uniform
    accuracies, parameters = [0.2, 0.9, 0.4], list(search.controller.parameters())
    choices, _ = search.draw(stream(0, 4, 0).random((3, search.controller.decisions)))
    log_probs, entropies = search.controller(choices)
    baseline, loss = 0.5, 0.0
    for accuracy, log_prob, entropy in zip(accuracies, log_probs, entropies.tolist(), strict=True):
        reward = accuracy + 0.1 * entropy
        baseline = 0.9 * baseline + 0.1 * reward
        loss = loss - (reward - baseline) * log_prob / 3
    if kind == "macro":
        loss = loss + 0.8 * search.controller.walk(choices).penalty.mean()
    slopes = torch.autograd.grad(loss, parameters)
    before, given = parameters_to_vector(parameters).detach(), iter(accuracies)
    monkeypatch.setattr(search, "_accuracy", lambda *_: torch.tensor(next(given)))
    metrics = search.train_controller(batches[1], torch.optim.SGD(parameters, lr=1.0), 0, 0, 0.5)
    assert metrics["baseline"] == pytest.approx(baseline, rel=1e-5)
    expected = torch.cat([slope.flatten() for slope in slopes])
    moved = before - parameters_to_vector(parameters)
    assert (moved - expected).norm() < 1e-3 * expected.norm()


def test_gradients_of_a_supernet_are_really_clipped(batches):
    """One plain step at learning rate 1 goes as far as `clip` allows."""

    def distance(clip):
        search = search_of("micro")
        search.recipe = Recipe(optimizer="sgd", lr=1.0, momentum=0.0, weight_decay=0.0, batch_size=300, clip=clip)
        before = [value.detach().clone() for value in search.supernet.parameters()]
        search.train_weights(batches[0], search.optimizers().first, 0, 0)
        moved = zip(search.supernet.parameters(), before, strict=True)
        return torch.cat([(value - start).flatten() for value, start in moved]).norm().item()

    assert distance(None) > 0.5
    assert distance(0.5) == pytest.approx(0.5, rel=1e-3)


def test_the_learning_rate_restarts_as_published():
    """150 epochs of four cosine cycles begin anew at 10, 30 and 70 and end at lr_final (Loshchilov & Hutter, 2017)."""
    recipe = Recipe(lr=0.05, lr_final=0.0005, cycles=4)
    for epoch in (0, 10, 30, 70):
        assert recipe.lr_at(epoch, 150) == pytest.approx(0.05)
    for epoch, length, began in ((5, 10, 0), (20, 20, 10), (60, 40, 30), (149, 80, 70)):
        cosine = 0.5 * (1 + math.cos(math.pi * (epoch - began) / length))
        assert recipe.lr_at(epoch, 150) == pytest.approx(0.0005 + 0.0495 * cosine)


def training(**oneshot):
    data = load("fashion_mnist_mini")
    few = [replace(part, images=part.images[:200], labels=part.labels[:200]) for part in (data.train, data.validation)]
    shared = SimpleNamespace(dataset=data, parts=few)
    options = {"space": MICRO, "layers": 1, "channels": 4, "stem_stride": 2, "updates": 2, "aggregate": 3}
    options |= {"candidates": 3} | oneshot
    recipe = {"epochs": 4, "batch_size": 50, "optimizer": "sgd", "lr": 0.05, "cycles": 2}
    return EnasTraining(shared, recipe, options, save_every_s=0.0)  # type: ignore[arg-type]


CPU_SHARE = SimpleNamespace(device=lambda: torch.device("cpu"))


@pytest.fixture
def _here(monkeypatch):
    """Data from this process instead of Ray's object store."""

    def at(shared, device):
        data = shared.dataset
        return tuple(Batches(part, data.mean, data.std, device) for part in shared.parts)

    monkeypatch.setattr("raynas.train.enas.batches", at)


def untimed(report):
    return {name: value for name, value in report.items() if name != "images_per_s"}


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(("space", "optimizer"), [(MICRO, "sgd"), (MACRO, "adamw")], ids=["micro", "macro"])
def test_a_resumed_search_is_bit_identical(tmp_path, space, optimizer):
    made = training(space=space)
    made.training["optimizer"] = optimizer
    whole = [untimed(report) for report in made({}, tmp_path / "whole", 3, CPU_SHARE)]
    assert {*METRICS} <= {*whole[-1], "images_per_s"}
    assert [report["epoch"] for report in whole] == [1, 2, 3, 4]
    cut = made({}, tmp_path / "cut", 3, CPU_SHARE)
    parts = [untimed(next(cut)) for _ in range(2)]
    cut.close()
    again = [untimed(report) for report in made({}, tmp_path / "cut", 3, CPU_SHARE)]
    assert parts == whole[:2]
    assert again == whole[1:]  # what was reported last is reported again
    other = [untimed(report) for report in made({}, tmp_path / "other", 4, CPU_SHARE)]
    assert other[-1]["train_loss"] != whole[-1]["train_loss"]


@pytest.mark.usefixtures("_here")
def test_a_search_searches_anew_where_its_checkpoint_is_damaged(tmp_path):
    made = training()
    whole = [untimed(report) for report in made({}, tmp_path / "one", 0, CPU_SHARE)]
    next(made({}, tmp_path / "two", 0, CPU_SHARE))
    (kept,) = (tmp_path / "two").glob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:-7] + b"garbage")
    assert [untimed(report) for report in made({}, tmp_path / "two", 0, CPU_SHARE)] == whole


@pytest.mark.usefixtures("_here")
def test_what_is_found_was_the_best_that_was_scored(tmp_path):
    """`val_accuracy` is the found child's on the whole validation split, `val_mean` that of all candidates."""
    made = training(candidates=4)
    *_, last = made({}, tmp_path, 0, CPU_SHARE)
    assert last["val_mean"] < last["val_accuracy"] <= 1
    space = read(MICRO)
    assert space.contains({"model": "enas_micro", "normal": last["found_normal"], "reduction": last["found_reduction"]})


def test_two_optimizers_are_saved_as_one():
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(3)]

    def pair():
        return Pair(torch.optim.SGD(weights[:2], lr=0.1, momentum=0.9), torch.optim.Adam(weights[2:], lr=0.1))

    one, other = pair(), pair()
    for weight in weights:
        weight.grad = torch.rand(2)
    one.first.step()
    one.second.step()
    other.load_state_dict(one.state_dict())
    for mine, its in ((one.first, other.first), (one.second, other.second)):
        assert str(mine.state_dict()["state"]) == str(its.state_dict()["state"])


# -- experiments -----------------------------------------------------------------------------------------------------


def spec(**changes):
    return {
        "space": MICRO,
        "data": "fashion_mnist_mini",
        "oneshot": {"name": "enas", "layers": 1, "channels": 4, "stem_stride": 2, "updates": 1, "candidates": 2},
        "training": {"epochs": 1, "batch_size": 128, "optimizer": "sgd", "lr": 0.05},
    } | changes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": "genome_cnn"}, "no supernet holds the networks of model 'genome'. Known: enas_micro, enas_macro"),
        ({"space": "nas_bench_201"}, "no supernet holds the networks of model 'nas_bench_201'"),
        ({"space": {**MICRO, "reduction": "x"}}, "the parameters 'normal' and 'reduction', each a micro_cell"),
        (
            {"space": {**MICRO, "reduction": {"micro_cell": {"operations": ["skip_connect"]}}}},
            "with the same operations",
        ),
        (
            {"space": {"model": "enas_macro", "architecture": {"micro_cell": {}}}},
            "the parameter 'architecture', a macro",
        ),
        ({"space": {**MICRO, "normal": {"micro_cell": {"nodes": 13}}}}, "nodes is from 1 to 12, got 13"),
        (
            {"space": {**MICRO, "channels": 8}},
            "a supernet's space has the parameters model, normal, reduction; channels",
        ),
        ({"space": {"lr": 0.1}, "oneshot": {"space": {**MICRO, "lr": 0.1}}}, "normal, reduction; lr: of the search"),
        ({"oneshot": {"space": 5}}, "oneshot"),
        ({"space": "enas_macro", "oneshot": {"channels": 1}}, "channels"),
        ({"oneshot": {"layers": 1, "reductions": 3}}, "three reductions need two layers"),
        ({"limits": "params <= 1e6"}, "a supernet holds all of its space"),
        ({"oneshot": "darts"}, "unknown one-shot search 'darts'"),
        ({"oneshot": {"chanels": 4}}, "channels"),
        ({"oneshot": {"layers": 0}}, "layers"),
        ({"oneshot": ["enas"]}, "oneshot"),
        ({"objective": "val_acuracy"}, "unknown metric of a supernet search 'val_acuracy'"),
        ({"objective": "val_loss"}, "minimise"),
        ({"hyperparameters": {"drop_path": 0.3}}, "nothing reads the parameter 'drop_path'"),
        ({"hyperparameters": {"channels": {"choice": [0, 1]}}}, "channels"),
        ({"trainable": "trainings:once"}, "oneshot goes with no trainable of your own"),
        ({"data": "tabular:some.npz"}, "oneshot goes with no trainable of your own and with no table"),
    ],
)
def test_what_no_supernet_can_do_is_said_at_the_door(changes, said):
    with pytest.raises(InputError) as caught:
        make_plan(check(Experiment, spec(**changes), "experiment"))
    assert said in str(caught.value)


def test_a_spec_with_a_supernet_is_its_own():
    """What is stored has the architectures in `oneshot`, and reads back to the same."""
    plan = make_plan(check(Experiment, spec(), "experiment"))
    assert list(plan.space.domains) == ["run"]
    assert plan.experiment.budget.trials == 1
    again = make_plan(check(Experiment, spec_of(plan), "experiment"))
    assert spec_of(again) == spec_of(plan)
    swept = make_plan(check(Experiment, spec(hyperparameters={"lr": {"loguniform": [1e-3, 1e-1]}}), "experiment"))
    assert {*swept.space.domains} == {"run", "lr"}


def test_a_last_batch_of_one_image_is_scored_with_the_others(batches):
    data = load("fashion_mnist_mini")
    search = search_of("macro", candidates=2)
    odd = replace(data.train, images=data.train.images[:501], labels=data.train.labels[:501])
    found = search.best_child(Batches(odd, data.mean, data.std, torch.device("cpu")), 0, 0)
    assert 0 <= found["val_mean"] <= found["val_accuracy"] <= 1


def test_a_search_on_arrays_is_derived_with_them(tmp_path, ray_here):
    data = load("fashion_mnist_mini")
    arrays = (data.train.images[:200], data.train.labels[:200])
    given = {"home": tmp_path, "progress": False}
    results = raynas.search(**spec(data=arrays), name="cells", **given)
    small = {"training": {"epochs": 1}, "hyperparameters": {"layers": 1, "channels": 4, "stem_stride": 2}}
    with pytest.raises(InputError, match="say which data to train on"):
        raynas.derive(results, **small, **given)
    with pytest.raises(InputError, match="leave 'space' out"):
        raynas.derive(results, data=arrays, space="genome_cnn", **small, **given)
    assert raynas.derive(results, data=arrays, **small, **given).trials["state"].tolist() == ["done"]


@pytest.mark.slow  # the README shows it, and its test runs it
def test_a_search_in_a_supernet_and_the_network_derived_from_it(tmp_path, ray_here):
    """Two searches, then the best one's cells trained alone and verified, through Ray."""
    given = {"home": tmp_path, "progress": False}
    results = raynas.search(**spec(), trials=2, name="cells", **given)
    frame = results.trials
    assert frame["state"].tolist() == ["done", "done"]
    assert frame["run"].nunique() == 2
    best = results.best()
    cells = found(results)
    assert cells == {
        "model": "enas_micro",
        "normal": best["found_normal"].iloc[0],
        "reduction": best["found_reduction"].iloc[0],
    }
    assert found(results, 1)["normal"] == frame["found_normal"].iloc[1]
    final = raynas.derive(
        "cells", training={"epochs": 1}, hyperparameters={"layers": 1, "channels": 4, "stem_stride": 2}, **given
    )
    assert final.name == "cells-derived"
    assert final.trials["normal"].tolist() == [cells["normal"]]
    assert final.experiment["data"]["split"] == results.experiment["data"]["split"]
    quick = score(final)
    assert 0 <= quick.low <= quick.accuracy <= quick.high
    small = [f"hyperparameters.{name}={value}" for name, value in (("layers", 1), ("channels", 4), ("stem_stride", 2))]
    verdict = raynas.verify(results, k=1, random=0, seeds=2, epochs=1, baseline="none", overrides=small, progress=False)
    assert [network.label for network in verdict.networks] == ["finalist 1"]
    assert verdict.networks[0].of == best["number"].iloc[0]
    assert verdict.networks[0].config == {**cells, "layers": 1, "channels": 4, "stem_stride": 2}
    assert len(verdict.networks[0].tests) == 2
    assert results.verification.experiment["spec"]["training"]["optimizer"] == Recipe().optimizer
    with pytest.raises(InputError, match="trained its networks one by one"):
        found(final)
    with pytest.raises(InputError, match="7"):
        found(results, 7)
    with pytest.raises(InputError, match="raynas derive cells trains what it found"):
        raynas.model(results)
    assert derived_spec(results, {"seed": 5})["seed"] == 5
