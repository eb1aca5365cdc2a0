"""The command line: useful output, and one clear error with exit code 2 for what cannot be done."""

import json
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_ledger import open_ledger, run_all
from typer.testing import CliRunner

from raynas.cli.main import app

SEARCH = ["search", "genome_cnn", "--data", "fashion_mnist_mini"]


def raynas(*arguments, home=None):
    """Run a command in this process; returns (exit code, everything it printed)."""
    extra = [] if home is None else ["--home", str(home)]
    result = CliRunner().invoke(app, [*map(str, arguments), *extra])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture
def finished(tmp_path):
    """A finished experiment called "night"."""
    folder = tmp_path / "night"
    folder.mkdir()
    ledger = open_ledger(folder, trials=6)
    ledger.store.update_experiment(name="night")
    run_all(ledger)
    ledger.close()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "genom_cnn", "--data", "fashion_mnist_mini"], "Did you mean 'genome_cnn'"),
        (["search", "genome_cnn", "--data", "fashion_mnst_mini"], "Did you mean 'fashion_mnist_mini'"),
        (["search", "genome_cnn"], "name the data to train on"),
        (["search"], "name a space"),
        ([*SEARCH, "--search", "regularised-evolution"], "Did you mean 'regularized-evolution'"),
        ([*SEARCH, "--stop", "ahsa"], "Did you mean 'asha'"),
        ([*SEARCH, "--objective", "accuracy", "objective.mode=min"], "unknown key 'mode'"),
        ([*SEARCH, "buget.trials=4"], "Did you mean 'budget'"),
        ([*SEARCH, "budget.trial=4"], "Did you mean 'trials'"),
        ([*SEARCH, "budget.trials=abc"], "budget.trials"),
        ([*SEARCH, "budget.trials=0"], "budget.trials"),
        ([*SEARCH, "budget=5"], "budget"),
        ([*SEARCH, "training=fast"], "training"),
        ([*SEARCH, "training.lr=fast"], "training.lr"),
        ([*SEARCH, "training.optimizer=adm"], "training.optimizer"),
        ([*SEARCH, "training.augment=standart"], "Did you mean 'standard'"),
        ([*SEARCH, "search.population=1"], "population"),
        ([*SEARCH, "search.population=3", "search.tournament=9"], "must not be larger than population"),
        ([*SEARCH, "--search", "genetic", "search.population=1"], "greater than or equal to 2, got 1"),
        (
            [*SEARCH, "--search", "genetic", "search.population=2", "search.tournament=3"],
            "tournament (3) must not be larger than population (2)",
        ),
        ([*SEARCH, "--objective", "genome", "objective.alpha=1.5"], "less than or equal to 1, got 1.5"),
        ([*SEARCH, "--objective", "val_acuracy"], "Did you mean 'val_accuracy'"),
        ([*SEARCH, "--search", "nsga2"], "nsga2 takes several objectives"),
        ([*SEARCH, "objective={fitness: pareto, metrics: {parms: min, val_loss: min}}"], "Did you mean 'params'"),
        ([*SEARCH, "limits=params < 1104"], "the smallest params found is 1,104"),
        ([*SEARCH, "limits=[parms < 5]"], "Did you mean 'params'"),
        (["search", "genome_cnn", "--trainable", "trainings:once", "limits=params < 5"], "limits are on networks"),
        ([*SEARCH, "--search", "optuna", "search.sampler=TEP"], "Did you mean 'TPE'"),
        ([*SEARCH, "--search", "optuna", "search.sampler_options={gama: 1}"], "Did you mean 'gamma'"),
        ([*SEARCH, "--search", "grid"], "grid cannot list parameter 'architecture'"),
        ([*SEARCH, "--stop", "asha", "stop.grace=50"], "grace (50) must not be more than the epochs"),
        ([*SEARCH, "hyperparameters.learning_rate=0.1"], "nothing reads the parameter 'learning_rate'"),
        ([*SEARCH, "hyperparameters.lr={loguniform: [0, 1]}"], "loguniform"),
        ([*SEARCH, "hyperparameters.lr={logunifrm: [0.1, 1]}"], "Did you mean 'loguniform'"),
        ([*SEARCH, "hyperparameters.batch_size=many"], "batch_size"),
        ([*SEARCH, "validation=2.0"], "validation"),
        ([*SEARCH, "resources.gpu=1.5"], "whole number of GPUs"),
        ([*SEARCH, "image_size=32"], "image_size only goes with a folder"),
        ([*SEARCH, "--objective", "val_loss"], "{fitness: metric, metric: val_loss, mode: min} (or max)"),
        ([*SEARCH, "split=mergd"], "Did you mean 'merged'"),
        ([*SEARCH, "seed"], "key=value"),
        ([*SEARCH, "a={"], "not YAML"),
        ([*SEARCH, "--name", "../up"], "name is letters"),
        ([*SEARCH, "--search", "nowhere:Class"], "cannot import searcher"),
        ([*SEARCH, "--search", "json:JSONDecoder"], "must be a subclass of ray.tune.search.Searcher"),
        (["search", "genome_cnn", "--trainable", "json:loads"], "must be a generator function"),
        (["search", "genome_cnn", "--trainable", "json:nothing"], "has no 'nothing'"),
        (["search", "no_file.yaml", "--data", "fashion_mnist_mini"], "cannot read 'no_file.yaml'"),
        (["search", "--config", "no_file.yaml"], "cannot read 'no_file.yaml'"),
        (["resume", "nothing"], "there is no experiment 'nothing'"),
        (["results", "nothing"], "there is no experiment 'nothing'"),
        (["best", "nothing"], "there is no experiment 'nothing'"),
        (["status", "nothing"], "there is no experiment 'nothing'"),
    ],
)
def test_bad_input_gets_one_error_and_leaves_nothing(tmp_path, arguments, said):
    home = tmp_path / "runs"
    code, output = raynas(*arguments, home=home)
    assert code == 2
    assert said in " ".join(output.split())
    assert "Traceback" not in output
    assert output.count("error:") == 1
    assert not home.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["spaces", "genom_cnn"], "Did you mean 'genome_cnn'"),
        (["spaces", "genome_cnn", "--sample", "1", "--shape", "28"], "channels,height,width"),
        (["spaces", "genome_cnn", "--sample", "1", "--shape", "2,28,28"], "1 or 3 channels"),
        (["data", "fashion_mnst"], "Did you mean 'fashion_mnist'"),
        (["bench", "overhed"], "Did you mean 'overhead'"),
        (["bench", "overhead", "trial=3"], "Did you mean 'trials'"),
    ],
)
def test_bad_input_elsewhere(arguments, said):
    code, output = raynas(*arguments)
    assert code == 2
    assert said in " ".join(output.split())


def test_several_mistakes_are_said_at_once(tmp_path):
    code, output = raynas(*SEARCH, "buget.trials=4", "training.lrr=1", "seed=-1", home=tmp_path)
    assert code == 2
    assert all(said in output for said in ("buget", "lrr", "seed"))


def _folder(path, classes):
    for name in classes:
        (path / name).mkdir(parents=True)
    return path


def _wrong_labels(path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (20, 28, 28), dtype=np.uint8)
    np.savez(path, train_images=images, train_labels=np.arange(20) % 2, test_images=images, test_labels=np.full(20, 7))
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: (path / "empty").mkdir() or path / "empty", "no class folders"),
        (lambda path: _folder(path / "bare", ["cats", "dogs"]), "holds no images"),
        (lambda path: (path / "x.npz").write_bytes(b"PK\x03\x04 cut short") and path / "x.npz", "is not a .npz"),
        (lambda path: (path / "x.npz").write_bytes(b"") or path / "x.npz", "is not a .npz"),
        (
            lambda path: np.savez(path / "x.npz", images=np.zeros(3)) or path / "x.npz",
            "lacks train_images and train_labels",
        ),
        (lambda path: _wrong_labels(path / "x.npz"), "has the label 7; train has the classes 0..1"),
        (lambda path: path / "none.npz", "no file or folder"),
    ],
)
def test_bad_data_is_said(tmp_path, make, said):
    (tmp_path / "d").mkdir()
    data = make(tmp_path / "d")
    code, output = raynas("search", "genome_cnn", "--data", data, home=tmp_path / "runs")
    assert code == 2
    assert said in " ".join(output.split())
    assert not (tmp_path / "runs").exists()


def test_a_yaml_with_a_wrong_key_or_type(tmp_path):
    for text, said in (
        ("space: genome_cnn\ndata: fashion_mnist_mini\nserch: random\n", "Did you mean 'search'"),
        ("space: genome_cnn\ndata: fashion_mnist_mini\nseed: zero\n", "seed"),
        ("- a\n- b\n", "must hold a mapping"),
        ("a: [\n", "not YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", "not YAML"),
    ):
        (tmp_path / "e.yaml").write_text(text)
        code, output = raynas("search", "--config", tmp_path / "e.yaml", home=tmp_path / "runs")
        assert (code, said in output) == (2, True), output


def test_a_home_that_cannot_be_written_is_said(tmp_path, ray_here):
    (tmp_path / "file").write_text("")
    code, output = raynas(*SEARCH, home=tmp_path / "file")
    assert code == 2
    assert "cannot write the store" in output


def test_a_store_of_a_newer_schema_is_said(finished):
    import sqlite3

    with sqlite3.connect(finished / "night" / "store.db") as connection:
        connection.execute("UPDATE raynas SET schema = 99")
    for command in ("results", "best", "status", "resume"):
        code, output = raynas(command, "night", home=finished)
        assert code == 2
        assert "newer raynas" in output


def test_results_in_every_format(finished, tmp_path):
    code, text = raynas("results", "night", "--format", "csv", home=finished)
    assert code == 0
    frame = pd.read_csv(StringIO(text))
    assert len(frame) == 6
    assert len(json.loads(raynas("results", "night", "--format", "json", home=finished)[1])) == 6
    out = tmp_path / "t.parquet"
    assert raynas("results", "night", "--format", "parquet", "--output", out, home=finished)[0] == 0
    assert pd.read_parquet(out)["fitness"].tolist() == pytest.approx(frame["fitness"].tolist())
    assert "fitness" in raynas("results", "night", home=finished)[1]
    code, output = raynas("results", "night", "--format", "parquet", home=finished)
    assert (code, "--output" in output) == (2, True)
    code, output = raynas("results", "night", "--format", "cvs", home=finished)
    assert (code, "Did you mean 'csv'" in output) == (2, True)


def test_where_filters_with_sql(finished):
    _, text = raynas("results", "night", "--format", "csv", "--where", "number < 2 and state = 'done'", home=finished)
    assert pd.read_csv(StringIO(text))["number"].tolist() == [0, 1]
    code, output = raynas("results", "night", "--where", "nonsense > 1", home=finished)
    assert code == 2
    assert "unknown column" in output
    assert "Columns of trials" in output


def test_status_and_best(finished):
    _, text = raynas("status", home=finished)
    assert re.search(r"night\s+6 done", text)
    _, text = raynas("best", "night", "-k", 2, home=finished)
    assert text.count("fitness") >= 2
    assert "best = highest fitness" in text


def test_spaces_lists_exact_sizes():
    _, text = raynas("spaces")
    assert re.search(r"genome_cnn.*7\.228e\+29", text)
    assert re.search(r"simple_cnn.*5,964", text)
    _, text = raynas("spaces", "genome_cnn", "--sample", 5)
    rows = re.findall(r"^\s*([\d,]+)\s+([\d,]+)\s+(NC [^ ].*?FL \w+)", text, re.MULTILINE)
    assert len(rows) == 5
    from raynas.models import cost

    for parameters, flops, genome in rows:
        costs = cost({"architecture": genome}, (1, 28, 28), 10)
        assert (f"{costs['params']:,}", f"{costs['flops']:,}") == (parameters, flops)
    _, large = raynas("spaces", "simple_cnn", "--shape", "3,64,64")
    assert "7,952" in large  # at 64 px a fourth block has room: 4 * 497 * 4


def test_data_lists_and_describes():
    _, text = raynas("data")
    assert "fashion_mnist_mini" in text
    assert "pathmnist" in text
    _, text = raynas("data", "fashion_mnist_mini")
    assert "1x28x28" in text
    assert "4,500 images" in text


def test_doctor_trains_a_batch():
    code, text = raynas("doctor")
    assert code == 0
    assert re.search(r"cpu.*trains in \w+, first loss", text)


def test_help_answers_without_torch_or_ray():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "raynas", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "search" in done.stdout
    assert not re.search(r"\| +(torch|ray|pandas|optuna)$", done.stderr, re.MULTILINE)


@pytest.mark.slow
def test_the_console_script_searches(tmp_path, ray_here):
    """In this process, on the tests' Ray: search, table, resume."""
    arguments = ["simple_cnn", "hyperparameters.hidden=16", "--data", "fashion_mnist_mini", "--search", "random"]
    code, text = raynas("search", *arguments, "--trials", 2, "--epochs", 1, "--name", "cli", home=tmp_path)
    assert code == 0, text
    assert "[2/2]" in text
    assert "raynas results cli" in text
    code, text = raynas("resume", "cli", "--trials", 3, home=tmp_path)
    assert code == 0, text
    assert "3 done" in text
    code, text = raynas("search", *arguments, "--trials", 5, "--epochs", 1, "--name", "cli", home=tmp_path)
    assert (code, "exists with another spec" in text) == (2, True)
    assert Path(tmp_path / "cli" / "store.db").is_file()


def test_a_training_function_of_the_working_directory(tmp_path, monkeypatch, ray_here):
    """Its code travels with it: trial processes find no such module."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_training.py").write_text(
        "OFFSET = 5.0\n\ndef helper(x):\n    return x + OFFSET\n\ndef train(config):\n    yield {'score': helper(config['x'])}\n"
    )
    (tmp_path / "mine.yaml").write_text("parameters:\n  x: {uniform: [0, 1]}\n")
    arguments = [
        "search",
        "mine.yaml",
        "--trainable",
        "my_training:train",
        "--objective",
        "score",
        "--trials",
        2,
        "--name",
        "own",
    ]
    code, text = raynas(*arguments, home=tmp_path / "runs")
    assert code == 0, text
    code, text = raynas("resume", "own", "--trials", 3, home=tmp_path / "runs")
    assert code == 0, text
    _, table = raynas("results", "own", "--format", "csv", home=tmp_path / "runs")
    assert (pd.read_csv(StringIO(table))["score"] > 5).all()
