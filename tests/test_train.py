"""Training: a generator that learns, resumes bit-identically and says when it diverges."""

import json
import os
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raynas.data import load
from raynas.data.batches import Batches
from raynas.models import build
from raynas.objectives import Diverged
from raynas.settings import check
from raynas.tables import InputError
from raynas.train.checkpoint import CheckpointError, load_checkpoint, load_weights, save_checkpoint
from raynas.train.fit import METRICS, Progress, autocast, evaluate, fit, hits, loss_of, make_optimizer, train_step
from raynas.train.latency import PASSES, WARM_UP, latency
from raynas.train.recipe import SCHEDULES, Recipe, recipe_for

CPU = torch.device("cpu")
GENOME = {"architecture": "NC 8 3 swish;RC 8 3 swish;RC 16 3 swish;FL swish"}
DROPOUT = {"model": "simple_cnn", "conv_layers": 2, "hidden": 16, "dropout": 0.5}
SMALL = Recipe(epochs=3, batch_size=100, lr=5e-3, precision="float32")


@pytest.fixture(scope="module")
def data():
    return load("fashion_mnist_mini")


@pytest.fixture(scope="module")
def batches(data):
    few = replace(data.train, images=data.train.images[:1000], labels=data.train.labels[:1000])
    return tuple(Batches(part, data.mean, data.std, CPU) for part in (few, data.validation))


@pytest.fixture(scope="module")
def few_batches(data):
    """For what does not have to learn anything."""
    few = [replace(part, images=part.images[:300], labels=part.labels[:300]) for part in (data.train, data.validation)]
    return tuple(Batches(part, data.mean, data.std, CPU) for part in few)


def network(config=GENOME, seed=0):
    torch.manual_seed(seed)
    return build(config, (1, 28, 28), 10).to(memory_format=torch.channels_last)


def test_learns_real_images(batches):
    plain = {**DROPOUT, "dropout": 0.0}
    reports = list(fit(network(plain), *batches, replace_recipe(epochs=4), Progress(), seed=0))
    assert len(reports) == 4
    assert reports[-1]["val_accuracy"] > 0.6
    assert reports[-1]["train_loss"] < reports[0]["train_loss"]
    assert tuple(reports[0]) == METRICS


def replace_recipe(**changes):
    return SMALL.model_copy(update=changes)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_optimizer_and_precision_lowers_the_loss(batches, optimizer, precision):
    recipe = replace_recipe(optimizer=optimizer, precision=precision, epochs=2, lr=0.05 if optimizer == "sgd" else 5e-3)
    first, last = fit(network(), *batches, recipe, Progress(), seed=0)
    assert last["train_loss"] < first["train_loss"] < 2.4


@pytest.mark.parametrize("config", [GENOME, DROPOUT], ids=["genome", "dropout"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_resumed_training_is_bit_identical(few_batches, tmp_path, config, optimizer):
    recipe = replace_recipe(optimizer=optimizer, augment="strong", precision="auto")
    whole = network(config)
    expected = list(fit(whole, *few_batches, recipe, Progress(), seed=5))

    part, progress = network(config), Progress()
    training = fit(part, *few_batches, recipe, progress, seed=5)
    next(training)
    save_checkpoint(tmp_path, part, progress)
    torch.rand(7)  # a resumed process has another history
    again = network(config, seed=99)
    resumed = load_checkpoint(tmp_path, again, make_optimizer(again, recipe))
    assert resumed.epoch == 1
    rest = list(fit(again, *few_batches, recipe, resumed, seed=5))

    def timeless(reports):
        return [{name: value for name, value in report.items() if name != "images_per_s"} for report in reports]

    assert timeless(rest) == timeless(expected[1:])
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_seed_decides_order_augmentation_and_dropout(few_batches):
    recipe = replace_recipe(epochs=1, augment="strong")
    losses = [next(fit(network(DROPOUT), *few_batches, recipe, Progress(), seed))["train_loss"] for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_a_network_that_changes_with_its_training_is_told_how_far_it_is(few_batches):
    made, told = network(), []
    made.at = told.append
    list(fit(made, *few_batches, replace_recipe(epochs=2, batch_size=75), Progress(), seed=0))
    assert told == [step / 8 for step in range(8)]


def test_an_auxiliary_head_learns_by_its_share_of_the_loss(few_batches):
    cells = {"normal": "0 0 1 4", "reduction": "0 0 1 4", "layers": 3, "channels": 4, "auxiliary": 0.4}
    made = network({"model": "enas_micro", **cells}).train()
    images, labels = next(iter(few_batches[0].in_order(32)))
    train_step(made, torch.optim.SGD(made.parameters(), lr=0.0), images, labels, SMALL)
    learnt = [(value.grad.clone(), value) for value in made.second_head.parameters()]
    alone = torch.autograd.grad(loss_of(made(images)[1], labels), [value for _, value in learnt])
    for (found, _), slope in zip(learnt, alone, strict=True):
        assert torch.allclose(found, 0.4 * slope, atol=1e-6)


def test_fit_leaves_the_global_generator_alone(few_batches):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    next(fit(network_with_own_seed(), *few_batches, replace_recipe(epochs=1), Progress(), seed=0))
    assert torch.equal(torch.rand(3), expected)


def network_with_own_seed():
    with torch.random.fork_rng():
        return network(DROPOUT)


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("lr", 1e-3, 1e-2),
        ("weight_decay", 0.0, 0.5),
        ("optimizer", "adam", "sgd"),
        ("schedule", "constant", "one-cycle"),
        ("label_smoothing", 0.0, 0.2),
        ("clip", None, 0.01),
        ("batch_size", 50, 100),
        ("augment", "none", "standard"),
        ("momentum", 0.0, 0.9),
    ],
)
def test_every_field_of_the_recipe_is_applied(few_batches, field, one, other):
    base = {"optimizer": "sgd"} if field in ("momentum", "clip") else {}
    losses = []
    for value in (one, other):
        recipe = recipe_for({**SMALL.model_dump(), **base, "epochs": 2}, {field: value})
        losses.append(list(fit(network(), *few_batches, recipe, Progress(), seed=0))[-1]["train_loss"])
    assert losses[0] != losses[1]


@pytest.mark.parametrize("hardware", [True, False])
def test_bfloat16_is_chosen_where_it_is_fast(monkeypatch, hardware):
    """On CPUs that have it, and not for grouped convolutions there; what is asked for by name is done."""
    monkeypatch.setattr("raynas.train.fit.has_bfloat16", lambda device: hardware)
    plain, depthwise = torch.nn.Conv2d(4, 4, 3), torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, groups=4))
    for model, precision, expected in (
        (plain, "auto", hardware),
        (depthwise, "auto", False),
        (depthwise, "bfloat16", True),
        (plain, "float32", False),
    ):
        with autocast(Recipe(precision=precision), CPU, model):
            assert (model(torch.ones(1, 4, 5, 5)).dtype == torch.bfloat16) == expected


def test_divergence_is_said(few_batches):
    recipe = replace_recipe(optimizer="sgd", lr=1e6, schedule="constant")
    with pytest.raises(Diverged, match="loss is"):
        list(fit(network(), *few_batches, recipe, Progress(), seed=0))


@given(st.floats(0, 1, exclude_max=True))
def test_schedules_stay_between_nothing_and_the_peak(progress):
    for name, schedule in SCHEDULES.items():
        assert 0 <= schedule(progress) <= 1 + 1e-12, name


def test_schedules_closed_form():
    recipe = Recipe(lr=0.2, schedule="cosine")
    assert [recipe.lr_at(step, 4) for step in (0, 2)] == pytest.approx([0.2, 0.1])
    cycle = Recipe(lr=0.2, schedule="one-cycle")
    assert cycle.lr_at(0, 100) == pytest.approx(0.2 / 25)
    assert cycle.lr_at(30, 100) == pytest.approx(0.2)
    assert Recipe(lr=0.2, schedule="constant").lr_at(99, 100) == 0.2


def test_losses_and_hits_against_closed_forms():
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1])
    assert float(loss_of(logits, labels)) == pytest.approx((np.log(1 + np.exp(-2)) + np.log(2)) / 2, rel=1e-6)
    assert int(hits(torch.tensor([[2.0, 0.0], [1.0, 0.0]]), labels)) == 1
    many = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert float(loss_of(torch.zeros(2, 2), many)) == pytest.approx(np.log(2), rel=1e-6)
    assert float(hits(torch.tensor([[3.0, -3.0], [3.0, -3.0]]), many)) == pytest.approx(1.5)


def test_evaluate_equals_a_plain_loop(data):
    model, batch = network().eval(), Batches(data.validation, data.mean, data.std, CPU)
    loss, accuracy = evaluate(model, batch, SMALL)
    images = (torch.from_numpy(data.validation.images).float() - torch.tensor(data.mean).float()) / torch.tensor(
        data.std
    ).float()
    with torch.no_grad():
        logits = model(images.permute(0, 3, 1, 2))
    labels = torch.from_numpy(data.validation.labels)
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-4)
    assert accuracy == pytest.approx(float((logits.argmax(1) == labels).float().mean()), abs=1e-6)


def test_batches_hold_every_image_once_in_an_order_of_seed_and_epoch(data):
    batch = Batches(data.validation, data.mean, data.std, CPU)

    def labels(seed, epoch):
        return torch.cat([labels for _, labels in batch.epoch(64, seed, epoch)]).tolist()

    assert sorted(labels(0, 0)) == sorted(data.validation.labels.tolist())
    assert labels(0, 0) == labels(0, 0) != labels(0, 1)
    assert labels(0, 0) != labels(1, 0)
    images = torch.cat([images for images, _ in batch.in_order(64)])
    assert images.shape == (len(data.validation), 1, 28, 28)
    assert abs(float(images.mean())) < 0.1
    assert 0.9 < float(images.std()) < 1.1


def test_a_last_batch_of_one_is_left_out(data):
    few = replace(data.train, images=data.train.images[:65], labels=data.train.labels[:65])
    assert len(list(Batches(few, data.mean, data.std, CPU).epoch(64, 0, 0))) == 1


# -- checkpoints ---------------------------------------------------------------------------------------------------


def saved(tmp_path):
    model = network()
    save_checkpoint(
        tmp_path, model, Progress(epoch=2, metrics={"val_loss": 0.5}, optimizer=make_optimizer(model, SMALL))
    )
    return model


def test_checkpoints_round_trip_and_keep_one_file(tmp_path):
    model = saved(tmp_path)
    save_checkpoint(tmp_path, model, Progress(epoch=3, metrics={"val_loss": 0.4}))
    other = network(seed=1)
    progress = load_weights(tmp_path, other)
    assert (progress.epoch, progress.metrics) == (3, {"val_loss": 0.4})
    assert all(
        torch.equal(one, two) for one, two in zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    )
    index, tensors = sorted(path.name for path in tmp_path.iterdir())
    assert index == "checkpoint.json"
    assert tensors.startswith("epoch-3-")


def test_what_a_killed_save_left_is_swept_in_time(tmp_path):
    saved(tmp_path)
    for name, age in (
        ("epoch-1-aaaaaaaa.safetensors", 700),
        ("epoch-9-bbbbbbbb.safetensors", 5),
        ("checkpoint.json.1.new", 700),
    ):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    save_checkpoint(tmp_path, network(), Progress(epoch=3, metrics={}))
    left = sorted(path.name for path in tmp_path.iterdir())
    assert [name[:8] for name in left] == [
        "checkpoi",
        "epoch-3-",
        "epoch-9-",
    ]  # the last may be an orphan's, still being written


def test_an_orphan_that_still_writes_breaks_no_checkpoint(tmp_path, monkeypatch):
    """Two processes save to one folder, whose steps may fall in any order: what the index names is always there."""
    import raynas.train.checkpoint as module

    write = module._write
    orphan, own = network(seed=1), network(seed=2)
    saved(tmp_path)

    def other_in_between(path, content):
        if path.name == module.INDEX:
            monkeypatch.setattr(module, "_write", write)
            save_checkpoint(tmp_path, orphan, Progress(epoch=5, metrics={}))
            assert load_weights(tmp_path, network()).epoch == 5
        write(path, content)

    monkeypatch.setattr(module, "_write", other_in_between)
    save_checkpoint(tmp_path, own, Progress(epoch=3, metrics={}))
    assert load_weights(tmp_path, network()).epoch == 3
    save_checkpoint(tmp_path, orphan, Progress(epoch=3, metrics={}))  # the same epoch, other numbers
    assert load_weights(tmp_path, network()).epoch == 3


def test_a_flipped_bit_is_noticed(tmp_path):
    saved(tmp_path)
    path = next(tmp_path.glob("*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="checksum"):
        load_weights(tmp_path, network())


def test_a_save_cut_short_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    saved(tmp_path)
    import raynas.train.checkpoint as module

    written = []

    def cut(path, content):
        written.append(path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write", cut)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(tmp_path, network(seed=2), Progress(epoch=9))
    assert written
    assert load_weights(tmp_path, network()).epoch == 2


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    saved(tmp_path)
    with pytest.raises(CheckpointError, match="another network"):
        load_weights(tmp_path, network(DROPOUT))


def test_a_checkpoint_names_no_file_outside_its_folder(tmp_path):
    saved(tmp_path)
    index = json.loads((tmp_path / "checkpoint.json").read_text())
    (tmp_path / "checkpoint.json").write_text(json.dumps({**index, "tensors": "../../etc/passwd"}))
    with pytest.raises(CheckpointError, match="cannot read"):
        load_weights(tmp_path, network())


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"epochs": 0}, "epochs"),
        ({"lr": -1.0}, "lr"),
        ({"lr": float("nan")}, "lr"),
        ({"optimizer": "adm"}, "optimizer"),
        ({"augment": "standart"}, "Did you mean 'standard'"),
        ({"batchsize": 3}, "Did you mean 'batch_size'"),
        ({"batch_size": "128"}, "batch_size"),
    ],
)
def test_a_wrong_recipe_is_refused(given_, said):
    with pytest.raises(InputError, match=said):
        check(Recipe, given_, "training")


# -- latency -------------------------------------------------------------------------------------------------------


class Counting(torch.nn.Module):
    """Notes the batches it sees and whether it trains; takes `naps[i]` seconds for the i-th."""

    def __init__(self, naps):
        super().__init__()
        self.naps, self.seen = iter(naps), []

    def forward(self, images):
        self.seen.append((tuple(images.shape), self.training, torch.is_inference_mode_enabled()))
        time.sleep(next(self.naps))
        return images


def test_latency_is_the_median_after_the_warm_up():
    naps = [0.05] * WARM_UP + [0.001, 0.002, 0.004, 0.03, 0.03] * (PASSES // 5)
    network = Counting(naps)
    found = latency(network, (1, 8, 8), CPU, batch=3)
    assert network.seen == [((3, 1, 8, 8), False, True)] * (WARM_UP + PASSES)
    assert 4 <= found["latency_ms"] < 30
    assert found["latency_iqr_ms"] >= 20
    assert found["latency_batch"] == 3
    assert found["latency_device"].startswith("cpu, ")
