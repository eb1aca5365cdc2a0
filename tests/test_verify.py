"""`raynas verify` on a real Ray; what it chooses, and what it refuses."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ray import tune
from test_cli import raynas as command
from test_ledger import open_ledger, run_all

import raynas
from raynas.data import load
from raynas.exports.record import read_record
from raynas.models import MODELS, cost
from raynas.objectives import broken
from raynas.results import Store
from raynas.results.results import Results
from raynas.results.verdict import collect
from raynas.run.baseline import baseline
from raynas.run.drive import _training
from raynas.run.experiment import Experiment
from raynas.run.finalists import at_random, counted_limits, finalists, identify, the_baseline
from raynas.run.plan import make_plan
from raynas.run.searched import dataset_of
from raynas.run.verify import verified_training
from raynas.settings import check
from raynas.space import names, read
from raynas.tables import InputError

SPACE = {
    "architecture": raynas.Genome(layers=[4, 5], filters=[5, 12], kernels=[1, 3], reductions=2),
    "lr": tune.loguniform(1e-3, 1e-2),
}
LIMIT = "flops <= 5e5"
WISH = {"k": 1, "random": 1, "seeds": 2}


@pytest.fixture(scope="module")
def searched(ray_here, tmp_path_factory):
    """A search of two tiny networks."""
    home = tmp_path_factory.mktemp("searched")
    results = raynas.search(
        SPACE,
        data="fashion_mnist_mini",
        search="random",
        trials=2,
        epochs=1,
        limits=LIMIT,
        home=home,
        name="first",
        progress=False,
    )
    shutil.copytree(results.folder, home / "spare")
    return results


@pytest.fixture(scope="module")
def verified(searched):
    """Its verification: three networks, two seeds each, two epochs."""
    verdict = raynas.verify(searched, **WISH, epochs=2, ensemble=True, progress=False)
    return searched.refresh(), verdict


def copy_of(searched, folder):
    """The search as it was before it was verified."""
    shutil.copytree(searched.folder.parent / "spare", folder / "first")
    return Results(folder / "first" / "store.db")


# -- a real one ----------------------------------------------------------------------------------------------------


def test_what_is_recommended_is_what_is_exported(verified, tmp_path):
    """The training that was best on validation, with its own test score and the cost of the search that found it."""
    results, verdict = verified
    made = raynas.export(results, output=tmp_path / "model", formats=["safetensors"])
    record = read_record(made.folder)
    assert record.title == f"first-verify-1-trial-{verdict.recommended_trial}"
    row = results.verification.trials.set_index("number").loc[verdict.recommended_trial]
    assert record.test.accuracy == pytest.approx(row["test_accuracy"])
    assert record.test.low < record.test.accuracy < record.test.high
    assert record.search.elapsed_s == results.experiment["elapsed_s"]
    network = verdict.recommended
    mean, half = verdict.interval(network)
    assert (record.verified.of, record.verified.trainings, record.verified.mean) == (network.of, 2, mean)
    assert (record.verified.recommended, record.verified.all_trainings) == (True, 6)
    text = (made.folder / "README.md").read_text()
    assert f"{network.label} (trial {network.of} of the search `first`; " in text
    assert f"this is training {verdict.recommended_trial} of it" in text
    assert f"{mean:.4f} ± {half:.4f}" in text
    assert "| the best of 2 trainings |" in text
    assert "The verification: 6 trainings in" in text
    assert made.origin == (
        f"trial {network.of} of first, as retrained by its verification (training {verdict.recommended_trial} of verify-1)"
    )
    by_its_name = raynas.export(results.verification, output=tmp_path / "again", formats=["safetensors"])
    assert read_record(by_its_name.folder).search == record.search
    best = int(results.best()["number"].iloc[0])
    alone = raynas.export(results, best, output=tmp_path / "search", formats=["safetensors"])
    assert read_record(alone.folder).test is None
    assert read_record(alone.folder).verified is None
    assert alone.origin == f"trial {best} of first"


def test_the_test_split_is_scored_once_and_at_the_end(verified):
    results, verdict = verified
    curves = results.verification.curves
    assert len(curves) == 12
    assert curves[curves["epoch"] == 1]["test_accuracy"].isna().all()
    assert curves[curves["epoch"] == 2]["test_accuracy"].between(0, 1).all()
    assert not any("test" in name for name in (*results.curves.columns, *results.trials.columns))
    assert verdict.images == 1000
    assert verdict.epochs == 2


def test_networks_seeds_and_the_store(verified):
    results, verdict = verified
    assert [each.label for each in verdict.networks] == ["finalist 1", "random 1", "baseline"]
    assert all(len(each.tests) == 2 for each in verdict.networks)
    finalist, random, base = verdict.networks
    assert finalist.of == results.best()["number"].iloc[0]
    assert finalist.config == results.config(finalist.of)
    assert cost(random.config, (1, 28, 28), 10)["flops"] <= 5e5
    assert base.config["architecture"] == "NC 12 3 relu;RC 12 3 relu;RC 12 3 relu;FL relu"
    frame = results.verification.trials
    assert results.verification.name == "first/verify-1"
    assert frame["state"].tolist() == ["done"] * 6
    assert frame["seed"].nunique() == 6
    assert not set(frame["seed"]) & set(results.trials["seed"])
    assert frame["identity"].iloc[0] == results.trials.set_index("number").at[finalist.of, "identity"]
    assert frame["duplicate_of"].isna().all()  # the same network again is trained again
    assert frame["val_loss"].nunique() == 6
    assert len(results.trials) == len(Results(results.path).trials)  # the search is as it was
    assert raynas.open(results.folder).verdict() == verdict
    assert raynas.open("first/verify-1", home_dir=results.folder.parent).trials["number"].tolist() == list(range(6))
    assert verdict.search_s == pytest.approx(results.trials["seconds"].sum())


def test_weights_are_of_the_best_seed_on_validation(verified):
    results, _ = verified
    verification, number = verified_training(results)
    of_it = verification.trials.set_index("number").loc[[0, 3]]  # finalist 1
    assert number == of_it["fitness"].idxmax()
    import torch

    from raynas.data import load
    from raynas.data.batches import Batches
    from raynas.train.fit import evaluate
    from raynas.train.recipe import Recipe

    data = load("fashion_mnist_mini")
    network = raynas.verified_model(results).to(memory_format=torch.channels_last)
    test = Batches(data.test, data.mean, data.std, torch.device("cpu"))
    assert evaluate(network, test, Recipe())[1] == pytest.approx(of_it.at[number, "test_accuracy"], abs=0.003)
    kept = sorted(int(folder.name) for folder in (verification.folder / "checkpoints").iterdir())
    assert kept == [0, 3]


def test_the_ensemble_is_of_finalists(verified):
    _, verdict = verified
    members = dict(verdict.ensemble.members)
    assert set(members) <= set(verdict.networks[0].trials)
    assert verdict.ensemble.val_accuracy >= max(verdict.networks[0].fitness) - 0.003
    assert 0 <= verdict.ensemble.accuracy <= 1


def test_one_that_is_over_is_read_from_the_store(verified, monkeypatch):
    results, verdict = verified
    monkeypatch.setattr("raynas.run.verify.drive", None)  # whatever called one of these would fail
    monkeypatch.setattr("raynas.run.verify.searched_data", None)
    assert raynas.verify(results) == verdict
    assert raynas.verify(results, **WISH, epochs=2, ensemble=True) == verdict
    for other, said in (({"seeds": 3}, "seeds"), ({"k": 2, "epochs": 3}, "k, training.epochs"), ({"baseline": "none"}, "baseline")):  # fmt: skip
        with pytest.raises(InputError, match=f"differ in {said}.*--again"):
            raynas.verify(results, **other)


def test_on_the_command_line(verified):
    results, _ = verified
    home = results.folder.parent
    code, shown = command("verify", "first", home=home)
    assert code == 0
    for said in ("finalist 1", "random 1", "baseline", "Recommended: finalist 1", "±", "verification 1"):
        assert said in shown
    code, quick = command("verify", "first", "--weights", home=home)
    assert code == 0
    assert "test accuracy" in quick
    assert "95 % between" in quick
    for arguments, said in ((["--weights", "--k", "2"], "train nothing"), (["--seeds", "1"], "seeds"), (["--baseline", "{"], "not YAML")):  # fmt: skip
        code, refused = command("verify", "first", *arguments, home=home)
        assert code == 2
        assert said in refused


SCRIPT = """
import sys, raynas
raynas.verify(sys.argv[1], k=1, random=1, seeds=2, epochs=4, baseline="none", progress=False, address=sys.argv[2])
"""


@pytest.mark.slow
def test_a_killed_verification_goes_on(searched, tmp_path):
    """kill -9 in the middle; then the same again: nothing that finished runs twice."""
    import ray

    results, here = copy_of(searched, tmp_path), ray.get_runtime_context().gcs_address
    said = open(tmp_path / "said", "w")
    driver = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(results.folder), here],
        stdout=said,
        stderr=said,
        start_new_session=True,
    )
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and driver.poll() is None:
        verification = results.verification
        if verification is not None and (verification.trials["state"] == "done").any():
            break
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait(60) == -signal.SIGKILL, (tmp_path / "said").read_text()
    time.sleep(1.0)  # its workers notice
    before = results.verification.trials.set_index("number")
    finished = before[before["state"] == "done"]
    assert 1 <= len(finished) < 4
    assert results.verdict() is None
    with pytest.raises(InputError, match="no network that was verified"):
        raynas.verified_model(results)
    verdict = raynas.verify(results, progress=False)  # with the settings on record
    after = results.verification.trials.set_index("number")
    assert after["state"].tolist() == ["done"] * 4
    for column in ("ended", "attempt", "fitness", "test_accuracy"):
        assert after.loc[finished.index, column].equals(finished[column]), column
    assert results.verification.curves["test_accuracy"].notna().sum() == 4
    assert [len(each.tests) for each in verdict.networks] == [2, 2]
    assert collect(results.verification) == verdict.networks


# -- what is trained -----------------------------------------------------------------------------------------------


def test_no_search_is_given_the_test_split(ray_here):
    plan = make_plan(check(Experiment, {"space": "simple_cnn", "data": "fashion_mnist_mini"}, "experiment"))
    assert not plan.scores_test
    training = _training(plan)
    assert training.test is None
    assert training.data.dataset.test is None
    assert plan.dataset.test is not None


def small_cnns(folder, **given):
    """A search of small CNNs, all combinations, without Ray; their fitness is that of the ledger's tests."""
    space = {"model": "simple_cnn", "conv_layers": tune.choice([2, 3, 4]), "hidden": 20, "dropout": 0.0, "x": tune.choice([0.1, 0.9]), "n": 1}  # fmt: skip
    return open_ledger(folder, space=space, search="grid", options={}, **given)


def test_finalists_are_different_networks(tmp_path):
    """x is no part of the network, and 3 and 4 blocks are the same one at 28 px."""
    from raynas.models import same_network

    ledger = small_cnns(tmp_path, trials=6)
    run_all(ledger)
    ledger.close()
    results = Results(tmp_path / "store.db")
    space = read(results.experiment["spec"]["space"])
    merged = space.merging(same_network(space.constants, (1, 28, 28)))
    found = finalists(results, merged, 5, {"x": 0.5})
    assert [entry.label for entry in found] == ["finalist 1", "finalist 2"]
    assert {min(entry.config["conv_layers"], 3) for entry in found} == {2, 3}
    assert all(entry.config["x"] == 0.5 for entry in found)
    assert found[0].of == results.best()["number"].iloc[0]
    assert len(finalists(results, space, 1, {})) == 1
    assert len({identify(merged)(results.config(number)) for number in results.trials["number"]}) == 2


def test_where_only_hyperparameters_vary_configs_are_different_networks():
    space = read({"model": "simple_cnn", "conv_layers": 2, "hidden": 20, "dropout": 0.0, "lr": {"uniform": [0.1, 0.2]}})
    one, other = {**space.constants, "lr": 0.1}, {**space.constants, "lr": 0.2}
    assert identify(space)(one) != identify(space)(other)


def test_random_networks_are_new_and_within_the_limits():
    space, limits = read("genome_cnn"), ["params <= 50_000", "latency_ms <= 1"]
    price = lambda config: cost(config, (1, 28, 28), 10)  # noqa: E731
    first = at_random(space, price, limits, [], 4, 0, 1)
    assert len({identify(space)(entry.config) for entry in first}) == 4
    assert not any(broken(counted_limits(limits), price(entry.config)) for entry in first)
    assert at_random(space, price, limits, [], 4, 0, 1) == first
    again, other = at_random(space, price, limits, [], 4, 0, 2), at_random(space, price, limits, [], 4, 1, 1)
    assert not any(entry in first for entry in (*again, *other))
    beside = at_random(space, price, limits, first[:2], 4, 0, 1)
    assert [entry.config for entry in beside[:2]] == [entry.config for entry in first[2:]]


def test_a_space_that_has_no_more_gives_fewer():
    space = read({"model": "simple_cnn", "conv_layers": {"choice": [1, 2, 3]}, "hidden": 20, "dropout": 0.0})
    best = the_baseline(space, {}, None, (1, 28, 28), 10)
    assert best.config["conv_layers"] == 2
    found = at_random(space, lambda config: None, [], [best], 5, 0, 1)
    assert sorted(entry.config["conv_layers"] for entry in found) == [1, 3]


@pytest.mark.parametrize("name", names())
def test_every_space_has_a_baseline_that_is_in_it(name):
    space = read(name)
    made = baseline(space, {"lr": 2e-3})
    assert space.contains(made)
    assert list(made) == list(space.parameters)
    quick = {"layers": 1, "channels": 4} if name == "enas_micro" else {}
    assert cost({**made, **quick}, (1, 28, 28), 10)["params"] > 0
    assert made.get("lr", 2e-3) == 2e-3


def test_baselines_are_what_they_say():
    assert set(MODELS) <= {read(name).constants.get("model", "genome") for name in names()}
    cell = baseline(read("nas_bench_201"), {})
    assert cell["architecture"] == "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
    assert cost(cell, (3, 32, 32), 10)["params"] == 73_306 + 2 * 243_040
    assert baseline(read("enas_macro"), {})["architecture"] == "+".join(["conv_3x3"] * 12)
    assert baseline(read("genome_cnn"), {})["architecture"] == "NC 16 3 relu;RC 32 3 relu;RC 64 3 relu;FL relu"
    deep = {
        "architecture": {"genome": {"layers": [6, 8], "filters": [4, 20], "kernels": [1, 7], "activations": ["tanh"]}}
    }
    assert baseline(read(deep), {})["architecture"] == "NC 16 1 tanh;RC 20 1 tanh;RC 20 1 tanh;NC 20 1 tanh;NC 20 1 tanh;FL tanh"  # fmt: skip
    assert read(deep).contains(baseline(read(deep), {}))
    bare = {"model": "nas_bench_201", "architecture": {"cell": {"operations": ["none", "nor_conv_1x1"]}}}
    assert baseline(read(bare), {}) is None
    assert baseline(read({"model": "mine:net", "width": {"randint": [1, 9]}}), {}) is None


def test_a_baseline_of_ones_own():
    space = read("genome_cnn")
    made = the_baseline(space, {}, {"architecture": "NC 4 3 relu;FL relu"}, (1, 28, 28), 10)
    assert made.config == {"architecture": "NC 4 3 relu;FL relu", "lr": 1e-3, "model": "genome"}
    assert the_baseline(space, {}, "none", (1, 28, 28), 10) is None
    for given, said in (
        ({"architektur": "x"}, "Did you mean 'architecture'"),
        ({"lr": 1e-3}, "must say architecture"),
        ({"architecture": "NC"}, "cannot be built.*layer 1"),
        ("plain", "or none"),
    ):
        with pytest.raises(InputError, match=said):
            the_baseline(space, {}, given, (1, 28, 28), 10)


# -- the door ------------------------------------------------------------------------------------------------------


def stored(folder, **changes):
    """A search's store with no trial in it."""
    given = {"space": "simple_cnn", "data": "fashion_mnist_mini", **changes}
    spec = check(Experiment, given, "experiment").model_dump(mode="json")
    if isinstance(spec["space"], str):
        spec["space"] = read(spec["space"]).spec()
    row = {"name": "first", "spec": spec, "seed": 0, "data": {"digest": load("fashion_mnist_mini").digest}, "fingerprints": {}}  # fmt: skip
    folder.mkdir(exist_ok=True)
    Store.create(folder / "store.db", row).close()
    return Results(folder / "store.db")


@pytest.mark.parametrize(
    ("spec", "asked", "said"),
    [
        ({}, {}, "'first' has no finished trial yet: there is nothing to verify"),
        ({"data": "tabular:some.npz"}, {}, "looked its trials up in a table"),
        ({"data": None, "trainable": "mine:train", "space": {"x": {"uniform": [0, 1]}}}, {}, "by a function of yours"),
        ({"data": "(arrays)"}, {}, "arrays, which have no test split"),
        ({"split": "merged"}, {}, "no test split: its splits were merged"),
        ({}, {"seeds": 1}, "verify: 'seeds' must be right: .*greater than or equal to 2"),
        ({}, {"k": 0}, "verify: 'k' must be right"),
        ({}, {"overrides": ["budget.trials=3"]}, "can change training.*got 'budget.trials=3'"),
        ({}, {"overrides": ["training.epoch=3"]}, "Did you mean 'epochs'"),
        ({}, {"overrides": ["training.lr=0.5"]}, "hyperparameters.lr=0.5 sets it for all"),
        ({}, {"overrides": ["hyperparameters.lr={uniform: [0, 1]}"]}, "is one value"),
        ({}, {"overrides": ["hyperparameters.depth=3"]}, "nothing reads the parameter 'depth'"),
    ],
)
def test_what_cannot_be_verified_is_said(tmp_path, spec, asked, said):
    results = stored(tmp_path / "first", **spec)
    with pytest.raises(InputError, match=said):
        raynas.verify(results, progress=False, **asked)
    assert results.verification is None
    assert all(path.name.startswith("store.db") for path in Path(results.folder).iterdir())


def test_other_data_than_was_searched_is_refused(tmp_path):
    results = stored(tmp_path / "first")
    store = Store.open(results.path, writable=True)
    store.update_experiment(data={"digest": "another"})
    store.close()
    with pytest.raises(InputError, match="has changed since it was searched"):
        raynas.verify(results)


def test_trials_that_all_failed_leave_nothing_to_verify(tmp_path):
    results = stored(tmp_path / "first")
    ledger = small_cnns(tmp_path / "first", trials=2)
    while not isinstance(trial := ledger.next(), str):
        ledger.end(trial.number, 1, "diverged", "the loss is nan")
    ledger.close()
    with pytest.raises(InputError, match="no finished trial yet"):
        raynas.verify(results)


def test_a_verification_has_the_data_of_its_search(tmp_path):
    """Split by the search's seed: with its own, networks would be judged by images that they were trained on."""
    path, train = tmp_path / "clothes.npz", load("fashion_mnist_mini").train.take(np.arange(100))
    parts = {f"{part}_{what}": getattr(train, what) for part in ("train", "test") for what in ("images", "labels")}
    np.savez(path, **parts)
    results = stored(tmp_path / "first", data=str(path))
    data = {"digest": load(path).digest}
    store = Store.open(results.path, writable=True)
    store.update_experiment(data=data)
    store.add("verify-1", {"spec": store.experiment()["spec"], "seed": 1, "data": data, "fingerprints": {}})
    store.close()
    assert load(path, seed=1).split != load(path).split
    assert dataset_of(results.verification).split == dataset_of(results.refresh()).split == load(path).split


def test_files_of_a_verification_lie_where_one_is(verified, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said = command("plot", "first/verify-1", "best_so_far", home=verified[0].folder.parent)
    assert (code, said) == (0, "written to first-verify-1-best_so_far.html\n")


def test_a_verification_is_not_verified(verified):
    results, _ = verified
    for name in ("first/verify-1", results.verification.folder):
        code, said = command("resume", name, home=results.folder.parent)
        assert code == 2
        assert "is a verification: raynas verify goes on with it" in said
    code, said = command("reproduce", "first/verify-1", "--trial", "0", home=results.folder.parent)
    assert code == 2
    assert "is a verification; trials that can be trained again are those of its search" in " ".join(said.split())
    with pytest.raises(InputError, match="is a verification itself"):
        raynas.verify(results.verification)
    with pytest.raises(InputError, match="holds no 'verify-7'"):
        raynas.open("first/verify-7", home_dir=results.folder.parent)


def test_a_store_from_before_verifications_takes_one(tmp_path):
    """A file of schema 1 has no table of verdicts."""
    import sqlite3

    results = stored(tmp_path / "first")
    with sqlite3.connect(results.path) as connection:
        connection.execute("DROP TABLE verdicts")
        connection.execute("UPDATE raynas SET schema = 1")
    assert results.verdict() is None
    store = Store.open(results.path, writable=True)
    store.add("verify-1", {"spec": {}, "seed": 1, "data": None, "fingerprints": {}})
    store.close()
    store = Store.open(results.path, writable=True, row="verify-1")
    store.conclude({"a": 1})
    store.conclude({"a": 2})
    assert store.verdict() == {"a": 2}
    store.close()
    assert results.verification.name == "first/verify-1"
    assert results.refresh().name == "first"
    with sqlite3.connect(results.path) as connection:
        assert connection.execute("SELECT schema FROM raynas").fetchall() == [(2,)]
