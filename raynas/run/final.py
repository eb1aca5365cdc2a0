"""The final training of one trial's network: whole, from scratch, on as many GPUs as it is worth."""

from pathlib import Path
from typing import Any

from raynas.results.results import Results
from raynas.run.drive import SearchFailed
from raynas.run.folders import open_results
from raynas.run.launch import launch
from raynas.run.winner import trial_number
from raynas.tables import InputError

INHERITED = ("data", "validation", "image_size", "split", "seed")


def train(
    results: Results | str | Path,
    trial: int | None = None,
    *,
    workers: int | None = None,
    name: str | None = None,
    home: str | Path | None = None,
    data_dir: str | Path | None = None,
    address: str | None = None,
    progress: bool = True,
    **settings: Any,
) -> Results:
    """Train the network of the best trial (or of the one numbered `trial`) anew, as an experiment of its own with one trial,
    on `workers` processes that share every batch; blocks until it is trained.

    `settings` are fields of Experiment; data, its split, recipe and seed are the search's where not given. Raises SearchFailed
    when the training failed; the same call goes on from the checkpoint that several workers keep, unless it diverged.
    """
    results = results if isinstance(results, Results) else open_results(results, home)
    spec = final_spec(results, settings, trial)
    if workers is not None:
        spec["resources"] = {**spec.get("resources", {}), "workers": workers}
    name = name or f"{results.name}-trained"
    trained = launch(spec, name=name, home_dir=home, data_dir=data_dir, address=address, progress=progress)
    check_trained(trained)
    return trained


def check_trained(results: Results) -> None:
    """Raises SearchFailed where every trial failed, with what to do about it."""
    trials = results.trials
    if trials.empty or not (trials["state"] == "failed").all():
        return
    last, workers = trials.iloc[-1], results.experiment["spec"].get("resources", {}).get("workers", 1)
    said = f"the training failed ({last['failure']})"
    if workers > 1 and last["failure"] != "diverged":
        said += f"; its checkpoint is kept, to go on from: raynas resume {results.name}"
    raise SearchFailed(f"{said}\n\n{last['error']}", results.name)


def final_spec(results: Results, settings: dict[str, Any], trial: int | None = None) -> dict[str, Any]:
    """The experiment that trains one config."""
    searched = results.experiment["spec"]
    if "space" in settings:
        raise InputError("the space of a final training is the one config that was found: leave 'space' out")
    if searched.get("oneshot") is not None:
        raise InputError(f"'{results.name}' searched in supernets: raynas derive {results.name} trains what it found")
    if results.experiment["data"] is None or "input_shape" not in results.experiment["data"]:
        raise InputError(f"'{results.name}' trained no networks that raynas builds")
    if searched["data"] == "(arrays)":
        raise InputError(f"'{results.name}' was searched on arrays: train from Python with raynas.search")
    config = results.config(trial_number(results, trial))
    training = {**searched["training"], **settings.get("training", {})}
    fixed = set(config) & set(settings.get("training", {}))  # a config's own value would win over what is asked for
    space = {key: value for key, value in config.items() if key not in fixed}
    inherited = {key: searched[key] for key in INHERITED if key in searched}
    defaults = {"search": "random", "budget": {"trials": 1}, "keep": 1}
    return {**inherited, **defaults, **settings, "training": training, "space": space}
