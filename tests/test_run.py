"""Searches on a real Ray through a real tune.Tuner."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trainings
from ray import tune

import raynas
from raynas.results.results import Results
from raynas.run.drive import SearchFailed
from raynas.run.folders import experiments
from raynas.run.schedulers import SCHEDULERS
from raynas.run.score import score
from raynas.searchers import SEARCHERS
from raynas.tables import InputError

LINE = {"x": tune.uniform(0.0, 1.0)}
GENOMES = {
    "architecture": raynas.Genome(layers=[4, 5], filters=[5, 12], kernels=[1, 3], reductions=2),
    "lr": tune.loguniform(1e-3, 1e-2),
}


@pytest.fixture(autouse=True)
def _ray(ray_here):
    """Every test here places trials."""


def go(tmp_path, function=trainings.parabola, space=LINE, **settings):
    given = {"objective": "score", "trials": 6, "home": tmp_path, "progress": False, "name": "test"} | settings
    return raynas.search(space, function, **given)


@pytest.mark.parametrize("search", sorted(SEARCHERS))
def test_every_searcher_runs(tmp_path, search):
    goals = {"fitness": "pareto", "metrics": {"score": "max", "x_again": "min"}}
    objective = goals if search == "nsga2" else "score"
    results = go(tmp_path, search=search, space={**LINE, "k": tune.choice(["a", "b"])}, objective=objective)
    own = results.trials[results.trials["duplicate_of"].isna()]
    assert own["state"].tolist() == ["done"] * 6
    assert len(results.curves) == 18
    assert results.best()["fitness"].iloc[0] == results.trials["score"].max()
    assert results.experiment["ended"] == "all 6 trials are done"
    assert own["node"].notna().all()


def test_several_goals_and_limits(tmp_path):
    """Parameters are checked before a trial, latency in it; the front is of both and of what was trained."""
    results = raynas.search(
        GENOMES,
        data="fashion_mnist_mini",
        search={"name": "nsga2", "population": 3, "manner": "generational"},
        objective={"fitness": "pareto", "metrics": {"val_accuracy": "max", "params": "min", "latency_ms": "min"}},
        limits=["params <= 3_000", "latency_ms <= 1e6"],
        trials=5,
        epochs=1,
        home=tmp_path,
        name="front",
        progress=False,
    )
    frame = results.trials
    done, refused = frame[frame["state"] == "done"], frame[frame["state"] == "refused"]
    assert len(done) + len(refused) == len(frame)
    assert len(done) == 5
    assert (done["params"] <= 3000).all()
    assert (refused["params"] > 3000).all()
    assert refused["epochs"].isna().all()
    assert (done["latency_ms"] > 0).all()
    assert (done["latency_iqr_ms"] >= 0).all()
    assert set(done["latency_device"]) == {"cpu, 1 thread"}
    assert set(done["latency_batch"]) == {1}
    assert (done["fitness"] == done["val_accuracy"]).all()
    assert set(results.pareto()["number"]) <= set(done["number"])
    verdict = score(results)
    assert verdict.images == 1000
    assert 0 <= verdict.low < verdict.accuracy < verdict.high <= 1
    longer = raynas.resume("front", home=tmp_path, trials=6, progress=False)
    assert longer.trials.iloc[: len(frame)]["architecture"].tolist() == frame["architecture"].tolist()
    assert (longer.trials["state"] == "done").sum() == 6


def test_merged_splits_leave_nothing_to_verify_on(tmp_path):
    given = {"data": "fashion_mnist_mini", "split": "merged", "validation": 0.9, "home": tmp_path, "progress": False}
    results = raynas.search("simple_cnn", trials=1, epochs=1, **given)
    assert results.experiment["data"]["split"]["validation"] == 5400
    with pytest.raises(InputError, match="'fashion_mnist_mini' has no test split: its splits were merged"):
        raynas.verify(results)


def test_a_network_that_is_too_slow_is_not_trained(tmp_path, monkeypatch):
    monkeypatch.setattr("raynas.run.ledger.TURNED_AWAY", 3)
    results = raynas.search(
        GENOMES, data="fashion_mnist_mini", limits="latency_ms <= 0.000001", epochs=1, home=tmp_path, progress=False
    )
    assert results.experiment["ended"].startswith("the last 3 networks broke the limits when they were measured (lat")
    assert set(results.trials["state"]) == {"refused"}
    assert results.curves.empty
    assert results.trials["error"].str.match(r"latency_ms is [\d.]+, not <= 1e-06").all()


def test_networks_are_designed_and_trained(tmp_path):
    results = raynas.search(
        GENOMES, data="fashion_mnist_mini", search="random", trials=4, epochs=2, home=tmp_path, progress=False, keep=1
    )
    frame = results.trials
    assert frame["state"].tolist() == ["done"] * 4
    assert (frame["epochs"] == 2).all()
    assert frame["params"].between(1000, 20000).all()
    assert frame["val_accuracy"].equals(frame["fitness"].rename("val_accuracy"))
    assert frame["train_loss"].nunique() == 4  # sampled values are applied
    assert results.experiment["data"]["split"]["validation"] == 500
    assert len(results.experiment["data"]["split"]["validation_indices"]) == 500
    network = raynas.model(results)
    _check_weights(network, results)
    with pytest.raises(InputError, match="no weights were kept"):
        raynas.model(results, int(frame.sort_values("fitness")["number"].iloc[0]))


def _check_weights(network, results):
    """The model handed back has the accuracy that the table says."""
    import torch

    from raynas.data import load
    from raynas.data.batches import Batches
    from raynas.train.fit import evaluate
    from raynas.train.recipe import Recipe

    data = load("fashion_mnist_mini")
    batches = Batches(data.validation, data.mean, data.std, torch.device("cpu"))
    _, accuracy = evaluate(network.to(memory_format=torch.channels_last), batches, Recipe())
    assert accuracy == pytest.approx(results.best()["fitness"].iloc[0], abs=0.005)


@pytest.mark.parametrize("stop", sorted(SCHEDULERS))
def test_every_scheduler_runs(tmp_path, stop):
    options = {"asha": {"max_epochs": 9}, "hyperband": {"max_epochs": 9}, "pbt": {"interval": 3}}
    space = {**LINE, "lr": tune.loguniform(1e-3, 1e-1)}
    results = go(
        tmp_path, trainings.levels, space, trials=9, stop={"name": stop, **options.get(stop, {})}, search="random"
    )
    states = results.trials["state"].value_counts().to_dict()
    assert set(states) <= {"done", "stopped"}
    assert sum(states.values()) == 9
    curves = results.curves
    assert not curves.duplicated(["number", "epoch"]).any()
    if stop in ("none", "pbt"):
        assert states == {"done": 9}
        assert (curves.groupby("number")["epoch"].max() == 9).all()
    else:
        assert states.get("stopped", 0) >= 1
        assert results.trials.set_index("number")["x"].idxmax() in results.best(1)["number"].tolist() or stop != "none"
    assert results.trials["x"].between(0.0, 1.0).all()
    if stop == "pbt":
        assert curves.groupby("number")["lr"].nunique().max() > 1  # hyperparameters changed on the way


def test_a_third_party_searcher_drives_it(tmp_path):
    results = go(tmp_path, search="ray.tune.search.optuna:OptunaSearch", seed=1)
    assert results.trials["state"].tolist() == ["done"] * 6
    assert json.loads(results.trials["origin"].iloc[0])["operator"] == "OptunaSearch"


def test_failures_are_rows_of_their_kind(tmp_path):
    results = go(tmp_path, trainings.uneven, search={"name": "grid", "points": 12}, trials=12)
    frame = results.trials
    kinds = {
        (row.x < 0.25, row.x < 0.5, row.x < 0.6): row.failure if row.state == "failed" else None
        for row in frame.itertuples()
    }
    assert kinds == {
        (True, True, True): "error",
        (False, True, True): "diverged",
        (False, False, True): "oom",
        (False, False, False): None,
    }
    assert "RuntimeError: small x" in frame[frame["failure"] == "error"]["error"].iloc[0]
    assert frame[frame["failure"].notna()]["fitness"].isna().all()


def test_a_broken_function_ends_the_search_at_once(tmp_path):
    with pytest.raises(SearchFailed, match="KeyError: 'no such thing'"):
        go(tmp_path, trainings.broken, trials=30)
    frame = Results(tmp_path / "test" / "store.db").trials
    assert (frame["state"] == "failed").sum() == 3
    assert len(frame) <= 5


def test_a_missing_metric_names_the_nearest(tmp_path):
    with pytest.raises(SearchFailed, match="Did you mean 'scored'"):
        go(tmp_path, trainings.wrong_metric)


def test_a_killed_process_costs_an_attempt_not_the_trial(tmp_path):
    space = {**LINE, "marks": str(tmp_path)}
    results = go(tmp_path / "home", trainings.dies_once, space, trials=2)
    assert results.trials["state"].tolist() == ["done", "done"]
    assert results.trials["attempt"].tolist() == [2, 2]


def test_the_same_name_and_spec_goes_on_another_spec_is_refused(tmp_path):
    first = go(tmp_path)
    assert go(tmp_path).trials["ended"].tolist() == first.trials["ended"].tolist()  # nothing ran again
    with pytest.raises(InputError, match="exists with another spec .*budget.trials"):
        go(tmp_path, trials=8)
    with pytest.MonkeyPatch.context() as job:
        job.setenv("RAYNAS_JOB", "test-1")  # nobody can say `raynas resume` to a job
        with pytest.raises(InputError, match="exists with another spec .*budget.trials"):
            go(tmp_path, trials=3)  # fewer
        more = go(tmp_path, trials=8)
    assert more.trials["ended"].tolist()[:6] == first.trials["ended"].tolist()
    assert more.trials["state"].tolist() == ["done"] * 8
    assert more.experiment["spec"]["budget"]["trials"] == 8
    with pytest.raises(InputError, match="exists with another spec .*seed"):
        go(tmp_path, seed=5)
    with pytest.raises(InputError, match="budget.trials"):
        go(tmp_path, trials=9)
    assert len(raynas.resume("test", trainings.parabola, trials=9, home=tmp_path, progress=False).trials) == 9


def test_names_are_made_and_never_taken_twice(tmp_path):
    for _ in range(2):
        go(tmp_path, trainings.once, name=None, trials=2)
    assert experiments(tmp_path) == ["space-once-regularized-evolution-0", "space-once-regularized-evolution-0-2"]


def test_more_than_there_is_is_refused_before_anything_is_written(tmp_path):
    for resources in ({"cpu": 64}, {"gpu": 8}):
        with pytest.raises(InputError, match="this Ray has"):
            go(tmp_path, **resources)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0.25, 1.0, 2.0])
def test_trials_get_shares_of_gpus(tmp_path, share):
    results = go(tmp_path, trainings.sees, gpu=share, trials=3)
    assert results.trials["state"].tolist() == ["done"] * 3
    assert set(results.trials["visible"]) <= ({"0", "1"} if share <= 1 else {"0,1", "1,0"})


def test_a_full_disk_is_one_clear_error(tmp_path, monkeypatch):
    """SQLite's own word for it, SQLITE_FULL, in the middle of a search."""
    from sqlalchemy import text

    from raynas.results.store import Store, StoreError

    real = Store.open.__func__

    def nearly_full(cls, path, writable=False, row=None):
        store = real(cls, path, writable, row)
        if writable:
            with store.writing() as connection:
                pages = connection.execute(text("PRAGMA page_count")).scalar_one()
                connection.execute(text(f"PRAGMA max_page_count = {pages + 1}"))
        return store

    monkeypatch.setattr(Store, "open", classmethod(nearly_full))
    with pytest.raises(StoreError, match="cannot write the store .*full"):
        go(tmp_path, trials=60)
    monkeypatch.undo()
    kept = Results(tmp_path / "test" / "store.db").trials
    results = raynas.resume("test", trainings.parabola, trials=6, home=tmp_path, progress=False)
    finished = kept[kept["state"] == "done"]
    assert results.trials.loc[finished.index, "ended"].equals(finished["ended"])


def test_a_searcher_that_raises_ends_the_search_with_its_traceback(tmp_path, monkeypatch):
    from raynas.searchers.random import Random

    def tell(self, trial):
        raise RuntimeError("moody")

    monkeypatch.setattr(Random, "tell", tell)
    with pytest.raises(SearchFailed, match="moody"):
        go(tmp_path, search="random")


def test_the_search_never_sees_the_test_split():
    from raynas.data import load
    from raynas.data.store import fetch, share

    data = load("fashion_mnist_mini")
    there = fetch(share(data))
    assert there.test is None
    assert len(there.train) == 4500
    assert (there.validation.images == data.validation.images).all()


SCRIPT = """
import sys, trainings, raynas
from ray import tune
space = {"x": tune.choice([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]), "journal": sys.argv[1]}
raynas.search(space, trainings.endless, objective="score", search="random", trials=7, home=sys.argv[2], name="killed",
              stop={"name": "asha", "max_epochs": 20, "grace": 15}, progress=False)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_killed_driver_resumes_and_runs_nothing_twice(tmp_path, how):
    """kill -9 (or Ctrl-C) of the driver in the middle of a real search; then resume."""
    journal, home = tmp_path / "journal", tmp_path / "home"
    here = Path(__file__).parent
    driver = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(journal), str(home)],
        env={**os.environ, "PYTHONPATH": str(here)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    store = home / "killed" / "store.db"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if store.is_file():
            frame = Results(store).trials
            ended = frame["state"].isin(["done", "stopped"]).sum()
            if ended >= 2 and (frame["state"] == "running").any():
                break
        time.sleep(0.05)
    driver.send_signal(how)
    code = driver.wait(60)
    assert code == -signal.SIGKILL if how == signal.SIGKILL else code != 0
    time.sleep(1.0)  # its workers notice
    before = Results(store).trials.set_index("number")
    finished = before[before["state"].isin(["done", "stopped"]) & before["duplicate_of"].isna()]
    assert 2 <= len(finished) < 7
    after = raynas.resume("killed", trainings.endless, home=home, progress=False)
    frame = after.trials.set_index("number")
    own = frame[frame["duplicate_of"].isna()]
    assert len(own) == 7
    assert frame["state"].isin(["done", "stopped"]).all()
    for column in ("fitness", "epochs", "ended", "attempt", "x"):
        assert frame.loc[finished.index, column].equals(finished[column]), column
    trained = [tuple(line.split()) for line in journal.read_text().splitlines()]
    epochs_of = {x: [int(epoch) for other, epoch in trained if other == x] for x, _ in trained}
    for number, row in finished.iterrows():  # 0 finished trials ran again
        assert epochs_of[str(row["x"])] == list(range(1, int(row["epochs"]) + 1)), number
    for x, epochs in epochs_of.items():  # an interrupted one went on from its checkpoint: at most one epoch is repeated
        assert len(epochs) - len(set(epochs)) <= 1, x
    whole = raynas.search(
        {"x": tune.choice([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]), "journal": str(tmp_path / "other")},
        trainings.endless, objective="score", search="random", trials=7, home=home, name="whole",
        stop={"name": "asha", "max_epochs": 20, "grace": 15}, progress=False,
    )  # fmt: skip
    assert whole.trials["x"].tolist() == after.trials["x"].tolist()


def test_one_driver_an_experiment(tmp_path):
    import fcntl

    go(tmp_path, trainings.once, trials=2)
    with open(tmp_path / "test" / "driver.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="running in another process"):
            raynas.resume("test", trainings.once, trials=4, home=tmp_path, progress=False)


@pytest.mark.slow
def test_a_resumed_network_ends_bit_identical(tmp_path):
    """Interrupt a training after its first epoch by hand, as a kill does, and resume it through Ray."""
    settings = {
        "data": "fashion_mnist_mini",
        "search": "random",
        "trials": 1,
        "epochs": 3,
        "progress": False,
        "home": tmp_path,
    }
    whole = raynas.search(GENOMES, **settings, name="whole")
    cut = raynas.search(GENOMES, **settings, name="cut", training={"epochs": 3})
    assert cut.trials["fitness"].tolist() == whole.trials["fitness"].tolist()
    from raynas.data import load
    from raynas.data.store import share
    from raynas.train.network import NetworkTraining
    from raynas.train.share import Share

    row = whole.experiment["spec"]
    config = {name: whole.trials[name].iloc[0] for name in GENOMES}
    training = NetworkTraining(share(load("fashion_mnist_mini")), row["training"], save_every_s=0.0)
    seed, folder = int(whole.trials["seed"].iloc[0]), tmp_path / "checkpoint"
    reports = training(config, folder, seed, Share(1.0))
    next(reports)
    next(reports)
    del reports  # the process dies
    again = list(training(config, folder, seed, Share(1.0)))
    assert [report["epoch"] for report in again] == [2, 3]
    assert again[-1]["val_loss"] == whole.trials["val_loss"].iloc[0]
    assert again[-1]["finished"]


def test_a_damaged_checkpoint_starts_over(tmp_path):
    from raynas.data import load
    from raynas.data.store import share
    from raynas.train.network import NetworkTraining
    from raynas.train.share import Share

    config = {"architecture": "NC 5 3 relu;RC 5 3 relu;RC 5 3 relu;FL relu"}
    training = NetworkTraining(share(load("fashion_mnist_mini")), {"epochs": 2}, save_every_s=0.0)
    first = list(training(config, tmp_path, 0, Share(1.0)))
    next(tmp_path.glob("*.safetensors")).write_bytes(b"damaged")
    again = list(training(config, tmp_path, 0, Share(1.0)))
    assert [report["epoch"] for report in again] == [1, 2]
    assert again[-1]["val_loss"] == first[-1]["val_loss"]


def test_arrays_are_searched_and_resumed_with_them_only(tmp_path):
    from raynas.data import load

    mini = load("fashion_mnist_mini")
    arrays = mini.train.images[:600, ..., 0], mini.train.labels[:600]
    settings = {"search": "random", "epochs": 1, "home": tmp_path, "progress": False, "name": "mine"}
    results = raynas.search(GENOMES, data=arrays, trials=2, **settings)
    assert results.trials["state"].tolist() == ["done"] * 2
    assert results.experiment["data"]["split"]["validation"] == pytest.approx(60, abs=5)
    with pytest.raises(InputError, match="data=\\(images, labels\\)"):
        raynas.resume("mine", trials=3, home=tmp_path)
    with pytest.raises(InputError, match="has changed"):
        raynas.resume("mine", data=(arrays[0] // 2, arrays[1]), trials=3, home=tmp_path)
    assert len(raynas.resume("mine", data=arrays, trials=3, home=tmp_path, progress=False).trials) == 3


def test_a_trial_that_trained_all_its_epochs_is_done_whoever_stops_it(tmp_path):
    results = go(tmp_path, trainings.nine, trials=6, stop={"name": "asha", "max_epochs": 9}, search="random")
    frame = results.trials
    assert (frame["state"] == "done").tolist() == (frame["epochs"] == 9).tolist()
    assert (frame["state"] == "done").any()


def test_epochs_are_counted_whatever_the_function_calls_them(tmp_path):
    results = go(tmp_path, trainings.from_zero, trials=2)
    assert results.curves.groupby("number")["epoch"].apply(list).tolist() == [[1, 2, 3]] * 2


@pytest.mark.slow
def test_pbt_changes_choices_of_networks_too(tmp_path):
    space = {**GENOMES, "schedule": tune.choice(["constant", "cosine"]), "weight_decay": tune.loguniform(1e-4, 1e-1)}
    results = raynas.search(
        space, data="fashion_mnist_mini", search="random", stop="pbt", trials=4, epochs=3, home=tmp_path, progress=False
    )
    frame = results.trials
    assert frame["state"].tolist() == ["done"] * 4
    assert (frame["epochs"] == 3).all()
    assert frame["schedule"].isin(["constant", "cosine"]).all()
    assert frame["weight_decay"].between(1e-4, 1e-1).all()


def test_the_same_name_with_other_data_is_refused(tmp_path):
    from raynas.data import load

    mini = load("fashion_mnist_mini")
    images, labels = mini.train.images[:400, ..., 0], mini.train.labels[:400]
    settings = {"search": "random", "epochs": 1, "trials": 1, "home": tmp_path, "progress": False, "name": "mine"}
    raynas.search(GENOMES, data=(images, labels), **settings)
    with pytest.raises(InputError, match="the data itself"):
        raynas.search(GENOMES, data=(255 - images, labels), **settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"budget": {"gpu_hours": 1.0}, "trials": None, "gpu": 0.0}, "never ends"),
        ({"stop": {"name": "hyperband", "max_epochs": 9}, "resources": {"concurrency": 1}}, "does not go with it"),
    ],
)
def test_what_cannot_be_honoured_is_refused(tmp_path, settings, said):
    with pytest.raises(InputError, match=said):
        go(tmp_path, trainings.levels, **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_two_drivers_at_once_get_two_experiments(tmp_path):
    """Both start before either has made its folder."""
    code = (
        "import trainings, raynas; from ray import tune; "
        f"print(raynas.search({{'x': tune.uniform(0, 1)}}, trainings.once, objective='score', trials=3, home={str(tmp_path)!r}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    both = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [driver.communicate(timeout=120)[0] for driver in both]
    assert [driver.returncode for driver in both] == [0, 0]
    assert all("3 done" in text for text in said)
    assert len(experiments(tmp_path)) == 2
