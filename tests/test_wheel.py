"""The wheel carries all it needs: built, installed in an empty environment elsewhere, and used from there."""

import os
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The Python of a fresh environment that holds the wheel; its dependencies are read from the environment of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT])
    wheel = next(folder.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert "raynas/search_spaces/genome_cnn.yaml" in names
    assert "raynas/data/fashion_mnist_mini.npz" in names
    assert any(name.endswith("fashion_mnist_mini.LICENSE") for name in names)
    assert not any(name.startswith(("tests", "search_spaces", "examples")) for name in names)
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    packages = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    zipfile.ZipFile(wheel).extractall(packages)
    # only packages: the .pth files there, one of which leads to this checkout, are not read from a .pth
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return python


@pytest.fixture
def here(tmp_path):
    """How commands are run: elsewhere, without this checkout."""
    environment = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "RAYNAS_DATA")}
    return {"cwd": tmp_path, "env": environment}


def test_the_wheel_works_elsewhere(installed, here):
    where = run([installed, "-c", "import raynas; print(raynas.__file__)"], **here)
    assert "site-packages" in where
    assert str(ROOT / "raynas") not in where
    assert "genome_cnn" in run([installed, "-m", "raynas", "spaces"], **here)
    assert "test: 1,000 images" in run([installed, "-m", "raynas", "data", "fashion_mnist_mini"], **here)


@pytest.mark.slow
def test_the_wheel_searches(installed, here, tmp_path):
    search = [
        "search",
        "genome_cnn",
        "--data",
        "fashion_mnist_mini",
        "--search",
        "random",
        "--trials",
        2,
        "--epochs",
        1,
    ]
    output = run([installed, "-m", "raynas", *search, "--name", "two"], **here)
    assert "2 done" in output
    assert (tmp_path / "runs" / "two" / "store.db").is_file()
