"""A trial trained again from its record: the same to the last bit, and what differs is said."""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing

import pytest
import trainings
from ray import tune
from test_cli import raynas as run

import raynas
from raynas.run.again import resources_there
from raynas.run.folders import locked
from raynas.run.reproduce import TIMED, Compared, Reproduction, _compare
from raynas.tables import InputError

GENOMES = {
    "architecture": raynas.Genome(layers=[4, 5], filters=[5, 8], kernels=[1, 3], reductions=3),
    "lr": tune.loguniform(1e-3, 1e-2),
}


@pytest.fixture(scope="module")
def home(ray_here, tmp_path_factory):
    """Two experiments: `nets`, networks of which some were stopped early, and `steps`, of own trainings."""
    home = tmp_path_factory.mktemp("reproduce")
    given = {"home": home, "progress": False, "search": "random", "resources": {"concurrency": 1}}
    asha = {"name": "asha", "grace": 1, "reduction": 2}
    raynas.search(
        GENOMES,
        data="fashion_mnist_mini",
        name="nets",
        stop=asha,
        trials=3,
        epochs=2,
        limits="params <= 10_000",
        **given,
    )
    space = {"x": tune.choice([0, 1, 2, 3])}
    raynas.search(space, trainings.steps, name="steps", objective="score", trials=5, seed=2, **given)
    return home


def numbers(home, name, condition):
    frame = raynas.open(name, home).trials
    return frame.query(condition)["number"].tolist()


def changed(home, name, *statements):
    """A copy of an experiment's folder with SQL run on its store."""
    shutil.rmtree(home / "copy", ignore_errors=True)
    shutil.copytree(home / name, home / "copy")
    with closing(sqlite3.connect(home / "copy" / "store.db")) as connection, connection:
        for statement, values in statements:
            connection.execute(statement, values)
    return raynas.open("copy", home)


def spec_with(home, name, **values):
    spec = raynas.open(name, home).experiment["spec"] | values
    return changed(home, name, ("UPDATE experiments SET spec = ?", [json.dumps(spec)]))


def test_a_network_comes_out_the_same_to_the_last_bit(home):
    results = raynas.open("nets", home)
    number = numbers(home, "nets", "state == 'done'")[0]
    before = hashlib.sha256(results.path.read_bytes()).hexdigest(), sorted(results.folder.rglob("*"))
    made = raynas.reproduce("nets", number, home=home)
    assert made.identical
    assert made.within
    assert made.differences == ()
    assert made.epochs == 2
    assert {each.metric for each in made.compared} >= {"train_loss", "val_loss", "val_accuracy", "fitness"}
    assert made.ignored == ("images_per_s",)
    assert str(made) == f"bit-identical: {len(made.compared)} metrics over 2 epochs"
    assert before == (hashlib.sha256(results.path.read_bytes()).hexdigest(), sorted(results.folder.rglob("*")))


def test_what_killed_ones_left_goes_and_what_is_at_work_stays(home):
    results = raynas.open("steps", home)
    number = numbers(home, "steps", "x == 0")[0]
    dead, alive = results.folder / "reproduce-dead", results.folder / "reproduce-alive"
    for folder in (dead, alive):
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "driver.lock").touch()
    with locked(alive):
        assert raynas.reproduce("steps", number, home=home).identical
        assert [path.name for path in results.folder.glob("reproduce-*")] == ["reproduce-alive"]
    assert (alive / "checkpoints").is_dir()
    shutil.rmtree(alive)


def test_another_seed_is_another_curve_up_to_where_it_was_stopped(home):
    number = numbers(home, "nets", "state == 'stopped'")[0]
    made = raynas.reproduce(changed(home, "nets", ("UPDATE trials SET seed = seed + 1", [])), number, tolerance=0)
    assert not made.identical
    assert not made.within
    assert made.error is None
    assert made.epochs == 1
    assert "train_loss" in {each.metric for each in made.compared if each.largest > 0}


def test_what_differs_is_said(home):
    """A record that another machine might have made: exit code 0 within the tolerance, 1 beyond it."""
    number = numbers(home, "steps", "x == 0")[0]
    report = "UPDATE reports SET metrics = json_set(metrics, '$.score', json_extract(metrics, '$.score') + ?) WHERE epoch = 2"
    torch = "UPDATE experiments SET fingerprints = json_set(fingerprints, '$.versions.torch', '1.0')"
    changed(home, "steps", (report, [0.01]), (torch, []))
    code, said = run("reproduce", "copy", "--trial", number, home=home)
    assert code == 0
    assert said.splitlines()[0].startswith("changed since: torch: 1.0 then, 2")
    assert "reproduced within a tolerance of 0.02, not bit-identical: 2 metrics over 3 epochs" in said
    score = next(line.split() for line in said.splitlines() if line.startswith("score"))
    assert score[:3] == ["score", "0.01", "2"]
    code, said = run("reproduce", "copy", "--trial", number, "--tolerance", "0.001", home=home)
    assert code == 1
    assert "not reproduced within a tolerance of 0.001" in said


def test_a_failed_trial_is_trained_to_its_last_report(home):
    number = numbers(home, "steps", "x == 2")[0]
    made = raynas.reproduce("steps", number, home=home)
    assert made.identical
    assert made.epochs == 2
    assert made.ignored == ("took_s",)


def test_a_training_that_ends_early_is_not_reproduced(home):
    """The record says that x = 2 had come to a third epoch."""
    number = numbers(home, "steps", "x == 2")[0]
    more = (
        "INSERT INTO reports SELECT experiment, 1000, trial, attempt, 3, fitness, metrics, seconds FROM reports "
        "WHERE trial = ? AND epoch = 2"
    )
    made = raynas.reproduce(changed(home, "steps", (more, [number])), number)
    assert not made.within
    assert str(made) == "not reproduced: RuntimeError: no 2"
    assert made.error.startswith("epoch 3 was not reached, the training failed")


def test_a_trial_that_went_on_from_its_checkpoint(ray_here, tmp_path):
    space = {"x": tune.uniform(0, 1), "marks": str(tmp_path)}
    given = {"objective": "score", "trials": 1, "name": "lost", "progress": False}
    results = raynas.search(space, trainings.dies_midway, home=tmp_path, **given)
    assert results.curves["attempt"].tolist() == [1, 1, 2, 2]
    made = raynas.reproduce(results, 0)
    assert made.identical
    assert made.epochs == 4


@pytest.mark.slow
def test_a_supernet_search_comes_out_the_same(ray_here, tmp_path):
    results = raynas.search(
        "enas_micro",
        data="fashion_mnist_mini",
        oneshot={"name": "enas", "layers": 1, "channels": 4, "stem_stride": 2, "updates": 3, "candidates": 3},
        training={"epochs": 2, "batch_size": 64, "optimizer": "sgd", "lr": 0.1},
        home=tmp_path,
        name="cells",
        progress=False,
    )
    made = raynas.reproduce(results, 0)
    assert made.identical
    assert any(each.metric.startswith("found_") and isinstance(each.recorded, str) for each in made.compared)


def refusals(home):
    twins = numbers(home, "steps", "duplicate_of == duplicate_of")
    yield "steps", twins[0], "is the same network and answered it; reproduce that one"
    yield "steps", numbers(home, "steps", "x == 1")[0], "is failed and has reported nothing"
    yield "steps", 999, "has no trial 999"
    yield "stepz", 0, "Did you mean 'steps'"


def test_what_was_not_trained_cannot_be_trained_again(home):
    first = numbers(home, "steps", "x == 0")[0]
    changed(home, "steps", ("UPDATE trials SET state = 'refused', error = 'params is 9' WHERE number = ?", [first]))
    for name, number, said in (*refusals(home), ("copy", first, "not trained, a limit refused it: params is 9")):
        with pytest.raises(InputError, match=said):
            raynas.reproduce(name, number, home=home)
        code, printed = run("reproduce", name, "--trial", number, home=home)
        assert code == 2
        assert "error: " in printed


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"stop": {"name": "pbt"}}, "is population based training"),
        ({"data": "tabular:x.npz#a"}, "looked its trials up in a table"),
        ({"data": "(arrays)", "trainable": None}, "was searched on arrays: from Python"),
        ({"trainable": "__main__:train"}, "by a function of a script: from Python"),
        ({"trainable": "trainings:step"}, "Did you mean 'steps'"),
    ],
)
def test_records_that_need_more_than_themselves(home, values, said):
    number = numbers(home, "steps", "x == 0")[0]
    with pytest.raises(InputError, match=said):
        raynas.reproduce(spec_with(home, "steps", **values), number)


def test_the_function_may_be_handed_over(home):
    number = numbers(home, "steps", "x == 0")[0]
    assert raynas.reproduce(spec_with(home, "steps", trainable="__main__:train"), number, trainings.steps).identical


def test_less_than_recorded_is_said(ray_here):
    assert resources_there({"cpu": 1.0, "gpu": 0.5}) == ({"cpu": 1.0, "gpu": 0.5}, [])
    given, less = resources_there({"cpu": 64.0, "gpu": 8.0})
    assert given == {"cpu": 2.0, "gpu": 2.0}
    assert less == ["cpu of the trial: 64 then, 2 now", "gpu of the trial: 8 then, 2 now"]


def test_differences_are_shares_of_large_values_and_texts_are_equal_or_not():
    one = {1: {"a": 100.0, "b": 0.5, "c": "x", "d": None}, 2: {"a": 100.0, "b": 0.5, "c": "x", "d": 1.0}}
    other = {1: {"a": 101.0, "b": 0.4, "c": "x", "d": None}, 2: {"a": 99.5, "b": 0.5, "c": "y"}}
    found = {each.metric: each for each in _compare(one, other)}
    assert found["a"].largest == pytest.approx(0.01)
    assert (found["a"].epoch, found["a"].recorded, found["a"].again) == (1, 100.0, 101.0)
    assert found["b"].largest == pytest.approx(0.1)
    assert found["c"].largest == found["d"].largest == float("inf")
    assert (found["c"].epoch, found["d"].epoch) == (2, 2)


def test_identical_within_and_neither():
    def made(*largest, error=None):
        compared = tuple(Compared("a", each, 1, 0, 0) for each in largest)
        return Reproduction("n", 0, 1, (), compared, (), 0.02, error)

    assert (made(0.0).identical, made(0.0).within) == (True, True)
    assert (made(0.0, 0.02).identical, made(0.0, 0.02).within) == (False, True)
    assert (made(0.0, 0.03).identical, made(0.0, 0.03).within) == (False, False)
    assert not made(0.0, error="it died").within


@pytest.mark.parametrize(
    "name", ["images_per_s", "latency_ms", "latency_device", "seconds", "simulated_s", "epoch_time"]
)
def test_clocks_are_not_compared(name):
    assert TIMED.search(name)


@pytest.mark.parametrize(
    "name", ["val_accuracy", "train_loss", "params", "timesteps", "classes", "loss", "lr_last", "ms_ssim"]
)
def test_other_metrics_are(name):
    assert not TIMED.search(name)
