"""Datasets from the libraries that own them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

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


def download(name: str, root: Path) -> dict[str, np.ndarray]:
    """The arrays of a dataset in MedMNIST's layout; `root` is a folder for the library's own files."""
    return SOURCES[name](name, root)
