"""The layout is the architecture: imports only go down, siblings never import each other, libraries stay at home."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "raynas"
FLOORS = {
    "tables": 0, "rng": 0, "settings": 0,
    "space": 1, "objectives": 1,
    "models": 2, "data": 2, "results": 2,
    "searchers": 3, "oneshot": 3,
    "train": 4,
    "run": 5,
    "service": 6, "bench": 6, "exports": 6,
    "cli": 7, "__main__": 8, "__init__": 8,
}  # fmt: skip
HOMES = {
    "ray": (
        "space",
        "data/store.py",
        "searchers/optuna.py",
        "searchers/grid.py",
        "searchers/decisions.py",
        "train/trainable.py",
        "run",
        "service",
        "bench",
    ),
    "pandas": ("results", "bench", "cli/show.py", "exports/predict.py"),
    "optuna": ("searchers/optuna.py", "results", "run/tracking/optuna.py"),
    "mlflow": ("run/tracking/mlflow.py",),
    "wandb": ("run/tracking/wandb.py",),
    "tensorboardX": ("run/tracking/tensorboard.py",),
    "sqlalchemy": ("results", "run/tracking/mlflow.py", "bench/frames.py"),
    "torch": (
        "models",
        "searchers/enas.py",
        "data",
        "objectives",
        "oneshot",
        "train",
        "run",
        "bench",
        "cli/doctor.py",
        "exports",
        "service/predictor.py",
    ),
    "fastapi": ("service",),
    "medmnist": ("data",),
    "torchvision": ("data", "bench"),
    "plotly": ("results/plots", "bench", "results/report"),
    "kaleido": ("results/plots/files.py",),
    "jinja2": ("results/report",),
    "pyarrow": ("results/frames.py", "cli/show.py"),
    "typer": ("cli",),
    "requests": ("service",),
    "pathspec": ("service/packing.py",),
    "threadpoolctl": ("searchers/bananas.py",),
    "yaml": ("settings.py",),
    "safetensors": ("train/checkpoint.py", "exports"),
    "onnx": ("exports/onnx.py",),
    "onnxruntime": ("exports/onnx.py",),
    "scipy": ("results/intervals.py", "results/verdict.py", "results/compare.py"),
}
FILES = sorted(ROOT.rglob("*.py"))


def imports(path):
    """Every module a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def part(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_go_down(path):
    mine = part(path)
    for name in imports(path):
        if name.startswith("raynas."):
            theirs = name.split(".")[1]
            below = FLOORS[theirs] < FLOORS[mine] or theirs == mine or FLOORS[mine] == FLOORS[theirs] == 0
            assert below, f"{path.relative_to(ROOT)} imports {name}: that is not below it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_stay_at_home(path):
    where = path.relative_to(ROOT).as_posix()
    for name in imports(path):
        homes = HOMES.get(name.split(".")[0])
        assert homes is None or where.startswith(homes), f"{where} imports {name}, whose home is {', '.join(homes)}"


@pytest.mark.parametrize("statement", ["import raynas", "import raynas.cli.main"])
def test_the_front_door_is_light(statement):
    code = f"import sys; {statement}; heavy = {{'torch', 'ray', 'pandas', 'optuna'}} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_unpickles_or_evaluates():
    for path in FILES:
        assert not {"pickle", "cloudpickle", "dill", "joblib"} & set(imports(path)), path
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.id if isinstance(node, ast.Name) else ""
            assert name not in ("eval", "exec", "pickle", "cloudpickle", "unsafe_load"), f"{path}: {name}"
