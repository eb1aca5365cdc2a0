"""Ray Tune's own logger callbacks, told of raynas's trials: flat metrics, the real parameters, one run a trial."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune.logger import LoggerCallback

from raynas.objectives import Trial


@dataclass(frozen=True, eq=False)
class Run:
    """A trial as Ray's callbacks know trials: their `Trial` under these names. `str` is the run's name."""

    number: int
    config: dict[str, Any]
    trial_id: str
    local_path: str
    experiment_dir_name: str

    def __str__(self) -> str:
        return f"{self.number:05d}"

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """The parameters as text where TensorBoard takes no such value."""
        return {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in self.config.items()
        }

    def init_local_path(self) -> None:
        Path(self.local_path).mkdir(parents=True, exist_ok=True)


class Through:
    """A tracker made of one of Ray's callbacks; `folder` is where its files go. Ray's own events would not do: a trial of
    the ledger may take several of Tune's, and a failure is a result to Tune."""

    def __init__(self, callback: LoggerCallback, name: str, key: str, folder: Path):
        self.callback, self.name, self.key, self.folder = callback, name, key, folder
        self.runs: dict[int, Run] = {}  # under way

    def path(self, number: int) -> Path:
        """Where the files of a trial go."""
        return self.folder

    def spelled(self, name: str) -> str:
        """The name of a metric or a parameter in letters that the system takes."""
        return name

    def missing(self, record: Mapping[int, Trial]) -> set[int]:
        """Nothing, where what is there cannot be asked for."""
        return set()

    def start(self, trial: Trial) -> None:
        if trial.number in self.runs:
            return
        run = Run(
            trial.number,
            {self.spelled(name): value for name, value in {**trial.config, "seed": trial.seed}.items()},
            f"{self.key}-{trial.number:05d}",
            str(self.path(trial.number)),
            self.name,
        )
        self.runs[trial.number] = run
        self.callback.log_trial_start(run)

    def hear(self, trial: Trial, epoch: int, fitness: float, metrics: dict[str, Any]) -> None:
        said = {
            self.spelled(name): value for name, value in metrics.items() if name != "timesteps_total"
        }  # it would be the step
        result = {**trial.cost, **said, "fitness": fitness, "training_iteration": epoch}
        self.callback.log_trial_result(epoch, self.runs[trial.number], result)

    def end(self, trial: Trial) -> None:
        run = self.runs.pop(trial.number, None)
        if run is not None:
            self.callback.log_trial_end(run, failed=trial.state in ("failed", "refused"))

    def close(self) -> None:
        while self.runs:
            _, run = self.runs.popitem()
            self.callback.log_trial_end(run)
        self.callback.on_experiment_end([])
