"""A quick look: the weights that the search left, scored on the test split."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas.data import Dataset
from raynas.results.intervals import wilson
from raynas.results.results import Results
from raynas.run.folders import open_results
from raynas.run.searched import dataset_of
from raynas.run.winner import trained_model, trial_number
from raynas.tables import InputError


@dataclass(frozen=True)
class Score:
    """`accuracy` on `images` test images, between `low` and `high` with 95 % confidence; `val_accuracy` is what the
    search saw, on the images by which the winner was chosen."""

    trial: int
    images: int
    accuracy: float
    low: float
    high: float
    val_accuracy: float | None


def searched_data(results: Results, data_dir: str | Path | None = None) -> Dataset:
    """The data of a search as it was, its test split with it. Raises InputError where there is none."""
    spec = results.experiment["spec"]
    if spec["data"] == "(arrays)":
        raise InputError(f"'{results.name}' was searched on arrays, which have no test split")
    if spec.get("split") == "merged":
        raise InputError(f"'{spec['data']}' has no test split: its splits were merged")
    data = dataset_of(results, data_dir)
    if data.test is None or not len(data.test):
        raise InputError(f"'{data.name}' has no test split")
    return data


def score(
    results: Results | str | Path,
    trial: int | None = None,
    home: str | Path | None = None,
    data_dir: str | Path | None = None,
) -> Score:
    """Score the weights that the search left of its best trial (or the one numbered `trial`) on the test split. One seed at
    the search's own recipe: `verify` says how good the network is."""
    import torch

    from raynas.data.batches import Batches
    from raynas.train.fit import evaluate
    from raynas.train.recipe import recipe_for

    results = results if isinstance(results, Results) else open_results(results, home)
    network, spec = trained_model(results, trial), results.experiment["spec"]
    data = searched_data(results, data_dir)
    assert data.test is not None
    number = trial_number(results, trial)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    test = Batches(data.test, data.mean, data.std, device)
    recipe = recipe_for(spec["training"], results.config(number))
    _, accuracy = evaluate(network.to(device), test, recipe)
    row: Any = results.trials.set_index("number").loc[number]
    low, high = wilson(accuracy, len(test))
    return Score(number, len(test), accuracy, low, high, row.get("val_accuracy"))
