"""The untouched test split, looked at once: how good the winner is on images that no part of the search has seen."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas.data import load
from raynas.results.results import Results
from raynas.run.folders import open_results
from raynas.run.winner import trained_model, trial_number
from raynas.tables import InputError

Z = 1.96  # of a 95 % interval


@dataclass(frozen=True)
class Verdict:
    """`accuracy` on `images` test images, between `low` and `high` with 95 % confidence; `val_accuracy` is what the
    search saw, on the images by which the winner was chosen."""

    trial: int
    images: int
    accuracy: float
    low: float
    high: float
    val_accuracy: float | None


def wilson(share: float, count: int, z: float = Z) -> tuple[float, float]:
    """The score interval of a share of `count` independent trials (Wilson, 1927)."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def verify(
    results: Results | str | Path,
    trial: int | None = None,
    home: str | Path | None = None,
    data_dir: str | Path | None = None,
) -> Verdict:
    """Score the weights that the search left of its best trial (or the one numbered `trial`) on the test split."""
    import torch

    from raynas.data.batches import Batches
    from raynas.train.fit import evaluate
    from raynas.train.recipe import recipe_for

    results = results if isinstance(results, Results) else open_results(results, home)
    network, spec = trained_model(results, trial), results.experiment["spec"]
    if spec["data"] == "(arrays)":
        raise InputError(f"'{results.name}' was searched on arrays, which have no test split")
    data = load(
        spec["data"],
        data_dir=data_dir,
        seed=results.experiment["seed"],
        validation=spec["validation"],
        image_size=spec["image_size"],
        split=spec.get("split", "official"),
    )
    if data.digest != results.experiment["data"]["digest"]:
        raise InputError(f"the data of '{results.name}' has changed since it was searched")
    if data.test is None or not len(data.test):
        why = ": its splits were merged" if spec.get("split") == "merged" else ""
        raise InputError(f"'{data.name}' has no test split{why}")
    number = trial_number(results, trial)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    test = Batches(data.test, data.mean, data.std, device)
    recipe = recipe_for(spec["training"], results.config(number))
    _, accuracy = evaluate(network.to(device), test, recipe)
    row: Any = results.trials.set_index("number").loc[number]
    low, high = wilson(accuracy, len(test))
    return Verdict(number, len(test), accuracy, low, high, row.get("val_accuracy"))
