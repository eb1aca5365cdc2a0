"""Datasets from the libraries that own them, kept as NAME.npz."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from raynas.tables import InputError

MEDMNIST_2D = (
    "pathmnist", "chestmnist", "dermamnist", "octmnist", "pneumoniamnist", "retinamnist", "breastmnist", "bloodmnist",
    "tissuemnist", "organamnist", "organcmnist", "organsmnist",
)  # fmt: skip
TORCHVISION = {"fashion_mnist": "FashionMNIST", "mnist": "MNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}


def _from_torchvision(name: str, root: Path) -> dict[str, np.ndarray]:
    from torchvision import datasets

    arrays = {}
    for part, train in (("train", True), ("test", False)):
        found: Any = getattr(datasets, TORCHVISION[name])(root=str(root), train=train, download=True)
        arrays[f"{part}_images"] = np.asarray(found.data, dtype=np.uint8)
        arrays[f"{part}_labels"] = np.asarray(found.targets, dtype=np.uint8).reshape(-1, 1)
    return arrays


def _from_medmnist(name: str, root: Path) -> dict[str, np.ndarray]:
    import medmnist

    kind = getattr(medmnist, medmnist.INFO[name]["python_class"])
    arrays = {}
    for part in ("train", "val", "test"):
        found = kind(split=part, download=True, root=str(root))
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = np.asarray(found.imgs), np.asarray(found.labels)
    return arrays


SOURCES: dict[str, Callable[[str, Path], dict[str, np.ndarray]]] = {
    **dict.fromkeys(TORCHVISION, _from_torchvision),
    **dict.fromkeys(MEDMNIST_2D, _from_medmnist),
}


def download(name: str, folder: Path) -> Path:
    """Fetch a dataset and keep it in `folder` as NAME.npz in MedMNIST's layout: whole or not at all."""
    target = folder / f"{name}.npz"
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
            raw, fresh = Path(scratch) / "raw", Path(scratch) / target.name
            raw.mkdir()  # apart from `fresh`: medmnist's own file is called NAME.npz too
            arrays: dict[str, Any] = SOURCES[name](name, raw)
            np.savez_compressed(fresh, **arrays)
            os.replace(fresh, target)
    except Exception as error:  # the libraries raise whatever their network code raises
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0].rstrip(".") if lines else type(error).__name__
        raise InputError(
            f"cannot download '{name}': {reason}. Put {name}.npz (MedMNIST's layout) into '{folder}'"
        ) from error
    return target
