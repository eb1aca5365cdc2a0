"""From a supernet search to a network: what it found is trained alone, from scratch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raynas.results.results import Results
from raynas.run.folders import open_results
from raynas.run.launch import launch
from raynas.run.winner import trial_number
from raynas.space import read
from raynas.tables import InputError
from raynas.train.enas import FOUND

INHERITED = ("data", "validation", "image_size", "split", "seed")


def found(results: Results, trial: int | None = None) -> dict[str, Any]:
    """The architecture that the best search of an experiment found (or the one numbered `trial`): the parameters of its
    space, its constants among them."""
    oneshot = results.experiment["spec"].get("oneshot")
    if oneshot is None:
        raise InputError(
            f"'{results.name}' trained its networks one by one; derive is for searches in a supernet (oneshot: …)"
        )
    number = trial_number(results, trial)
    row = results.trials.set_index("number").loc[number]
    space = read(oneshot["space"])
    missing = [name for name in space.domains if not isinstance(row.get(f"{FOUND}{name}"), str)]
    if missing:
        raise InputError(f"trial {number} of '{results.name}' has not finished an epoch: it found nothing yet")
    return {**space.constants, **{name: row[f"{FOUND}{name}"] for name in space.domains}}


def derive(
    results: Results | str | Path,
    trial: int | None = None,
    *,
    name: str | None = None,
    home: str | Path | None = None,
    data_dir: str | Path | None = None,
    address: str | None = None,
    progress: bool = True,
    **settings: Any,
) -> Results:
    """Train what a supernet search found, as an experiment of its own with one trial; blocks until it is trained.

    `settings` are fields of Experiment: `training`, and in `hyperparameters` what the network reads beside its cells
    (`layers`, `channels`, `drop_path`, …). Data, its split and the seed are the search's where not given; a search on arrays
    takes `data=(images, labels)` again.
    """
    results = results if isinstance(results, Results) else open_results(results, home)
    data = settings.get("data")
    arrays = None if data is None or isinstance(data, str | Path) else settings.pop("data")
    settings |= {} if data is None else {"data": "(arrays)" if arrays is not None else str(data)}
    spec = derived_spec(results, settings, trial)
    name = name or f"{results.name}-derived"
    return launch(spec, arrays=arrays, name=name, home_dir=home, data_dir=data_dir, address=address, progress=progress)


def derived_spec(results: Results, settings: Mapping[str, Any], trial: int | None = None) -> dict[str, Any]:
    """The experiment that trains what was found."""
    searched = results.experiment["spec"]
    if "space" in settings:
        raise InputError("the space of what is derived is what was found: leave 'space' out")
    if searched["data"] == "(arrays)" and "data" not in settings:
        raise InputError(f"'{results.name}' was searched on arrays: say which data to train on")
    inherited = {key: searched[key] for key in INHERITED}
    defaults = {"search": "random", "budget": {"trials": 1}, "keep": 1}
    return {**inherited, **defaults, **settings, "space": found(results, trial)}
