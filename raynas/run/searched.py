"""What an experiment was searched on."""

from pathlib import Path
from typing import Any

from raynas.data import Dataset, load
from raynas.results.results import Results
from raynas.tables import InputError


def dataset_of(results: Results, data_dir: str | Path | None = None, arrays: Any = None) -> Dataset:
    """The data of an experiment, split as it was; `arrays` are handed over where it was searched on arrays. A verification
    has the data of its search, split by the search's seed."""
    spec, row = results.experiment["spec"], results.experiment["data"]
    if spec["data"] is None:
        raise InputError(f"'{results.name}' trained by a function of yours: its networks are yours too")
    if spec["data"] == "(arrays)" and arrays is None:
        raise InputError(f"'{results.name}' was searched on arrays: hand them over in Python, data=(images, labels)")
    data = load(
        spec["data"] if arrays is None else arrays,
        data_dir=data_dir,
        seed=Results(results.path).experiment["seed"],
        validation=spec["validation"],
        image_size=spec["image_size"],
        split=spec.get("split", "official"),
    )
    if data.digest != row["digest"]:
        raise InputError(f"the data of '{results.name}' has changed since it was searched")
    return data
