"""Files and Python objects become the arrays of MedMNIST's layout."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from raynas.data.check import KEYS, check_keys
from raynas.tables import InputError


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of MedMNIST's layout; whatever else the file holds is not read."""
    try:
        with open(path, "rb") as opened:
            if not zipfile.is_zipfile(opened):
                raise InputError(f"'{path}' is not a .npz (a zip of arrays), or not all of one")
            opened.seek(0)
            with np.load(opened, allow_pickle=False) as file:
                check_keys(path.name, file.files)
                return {key: _read_array(file, key, path) for key in KEYS if key in file.files}
    except InputError:
        raise
    except Exception as error:  # a damaged archive can raise anything, zlib.error among it
        raise InputError(f"cannot read '{path}': {error}") from error


def _read_array(file: Any, key: str, path: Path) -> np.ndarray:
    try:
        array = file[key]
    except Exception as error:
        hint = "; pickled objects are never read" if "pickle" in str(error) else ""
        raise InputError(f"cannot read {key} of '{path}': {error}{hint}") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{key} of '{path}' is not an array")
    return array


def read_in_person(data: Any) -> dict[str, np.ndarray]:
    """The arrays of what a Python caller hands over."""
    if isinstance(data, Mapping):
        return {str(key): _array(value, str(key)) for key, value in data.items()}
    if isinstance(data, tuple | list) and len(data) == 2:
        return {"train_images": _array(data[0], "images"), "train_labels": _array(data[1], "labels")}
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        pairs = [data[index] for index in range(len(data))]
        if pairs and all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
            images = [_array(image, "an image") for image, _ in pairs]
            shapes = sorted({image.shape for image in images})
            if len(shapes) > 1:
                raise InputError(f"the images of a dataset must have one shape, got {shapes[0]} and {shapes[1]}")
            labels = [_array(label, "a label") for _, label in pairs]
            return {"train_images": np.stack(images), "train_labels": _array(labels, "labels")}
    raise InputError(
        f"data is a name, a path, (images, labels), a mapping of arrays or a dataset of pairs, got {type(data).__name__}"
    )


def _array(value: Any, what: str) -> np.ndarray:
    try:
        # a torch tensor may carry a gradient or lie on another device
        return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} cannot be made an array: {error}") from error
