"""`raynas bench frames`: how long results take to open as frames, against Ray Tune's own ResultGrid."""

import json
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from ray import tune
from sqlalchemy import insert

from raynas.bench.row import Row, print_rows
from raynas.results.database import Where
from raynas.results.results import Results
from raynas.results.schema import reports, trials
from raynas.results.store import Store
from raynas.rng import stream
from raynas.run.cluster import connected, environment
from raynas.run.launch import search
from raynas.space import read

Count = Annotated[int, Field(ge=2)]
SPACE = {"x": tune.uniform(0.0, 1.0), "lr": tune.loguniform(1e-4, 1e-1)}
EPOCHS = 5


def curve(config: dict[str, Any]) -> Any:
    """A trial that reports what a training does, at no cost."""
    for epoch in range(1, EPOCHS + 1):
        yield _report(config, epoch)


def _report(config: dict[str, Any], epoch: int) -> dict[str, float]:
    loss = config["lr"] / epoch
    return {"score": config["x"] * epoch, "train_loss": loss, "val_loss": 2 * loss, "images_per_s": 1000.0}


def _paired(config: dict[str, Any]) -> None:
    for epoch in range(1, EPOCHS + 1):
        tune.report({**_report(config["pair"], epoch), "epoch": epoch})


def _tuned(configs: list[dict[str, Any]], folder: str) -> str:
    """The same trials through Ray Tune alone; where it wrote them."""
    space = {"pair": tune.grid_search(configs)}
    run = tune.RunConfig(storage_path=folder, name="ray", verbose=0)
    tune.Tuner(_paired, param_space=space, run_config=run).fit()  # with its loggers: ResultGrid reads what they wrote
    return str(Path(folder) / "ray")


def _grid_frames(path: str) -> tuple[float, float, int]:
    """Milliseconds from files to frames (all trials' last reports, and all reports of all trials), those of
    `get_dataframe` alone, and the number of trials."""
    began = time.perf_counter()
    grid = tune.Tuner.restore(path, trainable=_paired).get_results()
    asked = time.perf_counter()
    last = grid.get_dataframe()
    alone = time.perf_counter() - asked
    reported = sum(len(result.metrics_dataframe) for result in grid)
    took = time.perf_counter() - began
    assert reported == len(last) * EPOCHS
    return 1000 * took, 1000 * alone, len(last)


def _store_frames(path: Where) -> tuple[float, int]:
    """Milliseconds from the store to the same frames, and the number of trials."""
    began = time.perf_counter()
    results = Results(path)
    last, curves = results.trials, results.curves
    took = time.perf_counter() - began
    assert len(curves) == len(last) * EPOCHS
    return 1000 * took, len(last)


def _same_trials(trials: int, repeats: int, folder: str) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of raynas, of Ray's ResultGrid and of its get_dataframe alone, on the same trials, turn by turn."""
    with connected(None):
        results = search(SPACE, curve, objective="score", search="random", trials=trials, home=folder, name="ours", progress=False)  # fmt: skip
        path = _tuned([results.config(number) for number in range(trials)], folder)
        ours, theirs, alone = [], [], []
        for _ in range(repeats):
            took, count = _store_frames(results.path)
            ours.append(took)
            took, table, counted = _grid_frames(path)
            assert count == counted == trials
            theirs.append(took)
            alone.append(table)
    return ours, theirs, alone


def fill(path: Path, many: int, epochs: int) -> None:
    """A store of `many` trials with `epochs` reports each, of the configs and metrics of a real search."""
    space, rng = read("genome_cnn"), np.random.default_rng(0)
    spec = {"space": space.spec(), "objective": {"fitness": "accuracy"}, "search": {"name": "random"}}
    store = Store.create(path, {"name": path.stem, "spec": spec, "seed": 0, "data": None, "fingerprints": {}})
    with store.writing() as connection:
        for number in range(many):
            accuracy = np.sort(rng.random(epochs))
            connection.execute(insert(trials), _trial(space.sample(stream(0, number)), number, epochs, accuracy[-1]))
            connection.execute(
                insert(reports), [_row(number, epoch, value) for epoch, value in enumerate(accuracy.tolist(), start=1)]
            )
    store.close()


def _trial(config: dict[str, Any], number: int, epochs: int, fitness: float) -> dict[str, Any]:
    moments = {"created": number, "started": number, "ended": number + 10.0, "seconds": 0.2 * epochs}
    return {
        "experiment": 1, "number": number, "config": config, "identity": f"{number:016x}", "state": "done", "seed": number,
        "fitness": float(fitness), "origin": {"operator": "random"}, "resources": {"cpu": 1.0, "gpu": 0.25}, "node": "here",
        "cost": {"params": 1000 + number, "flops": 10**6, "memory_mb": 1.5}, "attempt": 1,
        "asked": number * (epochs + 2), "told": (number + 1) * (epochs + 2) - 1, **moments,
    }  # fmt: skip


def _row(number: int, epoch: int, accuracy: float) -> dict[str, Any]:
    metrics = {
        "train_loss": 1.1 - accuracy,
        "train_accuracy": accuracy,
        "val_loss": 1 - accuracy,
        "val_accuracy": accuracy,
    }
    return {
        "experiment": 1, "heard": number * 10**6 + epoch, "trial": number, "attempt": 1, "epoch": epoch, "fitness": accuracy,
        "metrics": {**metrics, "lr_last": 1e-3, "images_per_s": 2931.5}, "seconds": 0.2,
    }  # fmt: skip


def _peak(path: Path) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak MB of opening a store's frames, in a process of its own (Linux's VmHWM: the
    peak that `resource` knows is inherited from this process)."""
    code = (
        "import json, re, sys, time; from pathlib import Path; from raynas.results.results import Results; "
        "began, cpu = time.perf_counter(), time.process_time(); results = Results(Path(sys.argv[1])); results.trials; "
        "took = [time.perf_counter() - began, time.process_time() - cpu]; "
        "peak = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text()); "
        "print(json.dumps([*took, int(peak[1]) / 1024]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    seconds, cpu, megabytes = json.loads(done.stdout)
    return seconds, cpu, megabytes


def frames(*, trials: Count = 200, repeats: Count = 3, many: Count = 10_000, epochs: Count = 50) -> None:
    """The same `trials` trials of five reports through raynas and through Ray Tune, opened as frames; then `many` trials of
    `epochs` reports each, from a store."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, environment({"RAY_USAGE_STATS_ENABLED": "0"}):
        ours, theirs, alone = _same_trials(trials, repeats, folder)
        path = Path(folder) / "many" / "store.db"
        path.parent.mkdir()
        fill(path, many, epochs)
        opened = [_peak(path) for _ in range(repeats)]
    seconds, cpu, megabytes = (list(values) for values in zip(*opened, strict=True))
    title = f"frames: {trials} trials of {EPOCHS} reports; {many:,} trials of {epochs} reports"
    rows = [
        Row("raynas: trials and curves", ours, "ms"),
        Row("ResultGrid: restored, get_dataframe, metrics_dataframe of each", theirs, "ms"),
        Row("ResultGrid: get_dataframe of one that is there already", alone, "ms"),
        Row(f"raynas: {many:,} x {epochs}, wall clock", seconds, "s"),
        Row(f"raynas: {many:,} x {epochs}, processor", cpu, "s"),
        Row(f"raynas: {many:,} x {epochs}, peak memory of the process", megabytes, "MB"),
    ]
    ratios = [
        ("ResultGrid from files / raynas from its store", rows[1].over(rows[0]), "> 1"),
        ("ResultGrid.get_dataframe alone / raynas from its store", rows[2].over(rows[0]), ""),
        (f"seconds to open {many:,} x {epochs}", rows[3].median, "<= 2"),
    ]
    print_rows(title, rows, ratios)
