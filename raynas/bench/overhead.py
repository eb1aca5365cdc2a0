"""`raynas bench overhead`: trials a second of trivial trials, against Ray Tune with its defaults and tuned by hand."""

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from ray import tune

from raynas.bench.row import Row, print_rows
from raynas.run.cluster import QUIET, connected, environment
from raynas.run.launch import search

Count = Annotated[int, Field(ge=1)]


def trivial(config: dict[str, Any]) -> Iterator[dict[str, float]]:
    """A trial that costs nothing."""
    yield {"score": config["x"]}


def _plain(config: dict[str, Any]) -> None:
    tune.report({"score": config["x"]})


class _Reusable(tune.Trainable):
    """The same as a trainable that lets Ray reuse its process."""

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.x = new_config["x"]
        return True

    def step(self) -> dict[str, Any]:
        return {"score": self.x, "done": True}


SPACE = {"x": tune.uniform(0.0, 1.0)}


def _seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _raynas(trials: int, home: str) -> list[float]:
    """The moments at which the trials ended."""
    results = search(SPACE, trivial, objective="score", search="random", trials=trials, home=home, progress=False)
    return sorted(moment.timestamp() for moment in results.trials["ended"])


def handling(home: str, trials: int = 200) -> float:
    """CPU seconds that this process spends on a trial of one report: its start, its result, its end, all on disk. Needs a
    Ray."""
    _raynas(10, f"{home}/warm")
    began = time.process_time()
    _raynas(trials, f"{home}/timed")
    return (time.process_time() - began) / trials


def _defaults(trials: int, folder: str) -> None:
    config = tune.TuneConfig(num_samples=trials)
    tune.Tuner(_plain, param_space=SPACE, tune_config=config, run_config=tune.RunConfig(storage_path=folder)).fit()


def _by_hand(trials: int, folder: str, slots: int) -> None:
    with environment(QUIET):
        config = tune.TuneConfig(num_samples=trials, reuse_actors=True, max_concurrent_trials=slots)
        at_end = tune.CheckpointConfig(checkpoint_at_end=False)
        run = tune.RunConfig(storage_path=folder, verbose=0, checkpoint_config=at_end)
        tune.Tuner(_Reusable, param_space=SPACE, tune_config=config, run_config=run).fit()


def overhead(*, trials: Count = 200, repeats: Count = 3, many: Annotated[int, Field(ge=1500)] | None = 3000) -> None:
    """`trials` trivial trials with each; then `many` with raynas alone, to see whether the rate lasts (null: leave out)."""
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    ours, defaults, by_hand = [], [], []
    ratios: list[tuple[str, float, str]] = []
    with tempfile.TemporaryDirectory() as folder, environment({"RAY_USAGE_STATS_ENABLED": "0"}), connected(None):
        slots = int(ray.cluster_resources()["CPU"])
        _raynas(2 * slots, str(Path(folder) / "warm"))  # starts workers and imports once for all
        with open(os.devnull, "w") as nowhere:
            for repeat in range(repeats):
                ours.append(trials / _seconds(lambda home=f"{folder}/{repeat}": _raynas(trials, home)))
                by_hand.append(trials / _seconds(lambda: _by_hand(trials, folder, slots)))
            kept = os.dup(1)
            os.dup2(nowhere.fileno(), 1)  # its progress tables
            try:
                defaults.append(trials / _seconds(lambda: _defaults(trials, folder)))
            finally:
                os.dup2(kept, 1)
        if many:
            ended = _raynas(many, f"{folder}/many")
            early, late = ended[999] - ended[499], ended[-1] - ended[-501]
            ratios.append(
                (f"rate of the last 500 of {many:,} trials / rate of trials 500-1,000", early / late, ">= 0.8")
            )
    rows = [
        Row("raynas", ours, "trials/s"),
        Row("Ray Tune, tuned by hand (reuse, no loggers, no snapshots)", by_hand, "trials/s"),
        Row("Ray Tune, defaults", defaults, "trials/s"),
    ]
    ratios[:0] = [
        ("raynas / Ray Tune defaults", rows[0].median / rows[2].median, ">= 10"),
        ("raynas / Ray Tune by hand", rows[0].over(rows[1]), ">= 0.8"),
    ]
    print_rows(f"overhead: {trials} trivial trials on {slots} CPUs", rows, ratios)
