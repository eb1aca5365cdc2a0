"""What the README and the examples show really runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_cli import raynas as command

from raynas.data.load import find
from raynas.results.results import Results

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MINI = "fashion_mnist_mini"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def blocks(kind):
    return [text for name, text in BLOCKS if name == kind]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One working directory for the whole README, from top to bottom, with a sixth of the packaged images: it is about the
    words of the README, and trains some thirty networks."""
    folder = tmp_path_factory.mktemp("readme")
    with np.load(find(MINI, folder)) as packaged:
        np.savez(folder / f"{MINI}.npz", **{name: array[::6] for name, array in packaged.items()})
    return folder


def test_readme_runs_from_top_to_bottom(place, monkeypatch, ray_here):
    monkeypatch.chdir(place)
    monkeypatch.setenv("RAYNAS_DATA", str(place))
    monkeypatch.setenv("PYTHONPATH", str(place))
    for kind, text in BLOCKS:
        if kind == "bash":
            for line in text.replace("\\\n", " ").splitlines():
                program, *arguments = shlex.split(line)
                assert program == "raynas"
                code, output = command(*arguments)
                assert code == 0, f"{line}\n{output}"
        elif kind == "python":
            exec(compile(text, "README.md", "exec"), {"__name__": "readme"})
        elif kind == "yaml":
            from raynas.space import read

            (place / "space.yaml").write_text(text)
            assert read(place / "space.yaml").size(["architecture"]) > 1
        else:
            assert kind == "console", kind
    assert (place / "runs" / "first" / "store.db").is_file()


def test_readme_names_what_there_is():
    from raynas.results.results import COLUMNS
    from raynas.run.schedulers import SCHEDULERS
    from raynas.searchers import SEARCHERS

    for name in (*SEARCHERS, *SCHEDULERS, *COLUMNS):
        assert f"`{name}`" in README, name


def test_readme_test_command_is_the_makefiles():
    assert re.search(r"^test:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert "make test" in README
    assert "make test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.slow
def test_own_training_loop(tmp_path):
    """The example as a user runs it: a script, from another directory."""
    path = ROOT / "examples" / "own_training_loop.py"
    assert len(path.read_text().splitlines()) <= 30
    done = subprocess.run([sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[16/16]" in done.stdout
    results = Results(next(tmp_path.glob("runs/*/store.db")))
    assert set(results.trials["state"]) <= {"done", "stopped"}
    assert results.trials["val_loss"].nunique() > 10
    assert (results.trials["fitness"] == -results.trials["val_loss"]).all()
    assert results.best()["epochs"].iloc[0] == 20


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_example_files_are_experiments(path):
    from raynas.run.experiment import Experiment
    from raynas.run.plan import make_plan
    from raynas.settings import check, read_yaml

    assert yaml.safe_load(path.read_text())
    given = {
        "space": "enas_micro",
        **read_yaml(path),
        "data": "fashion_mnist_mini",
    }  # what derive trains has no space yet
    experiment = check(Experiment, given, path.name)
    assert make_plan(experiment).space.contains(make_plan(experiment).searcher().ask())
