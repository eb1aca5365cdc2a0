"""A Dataset: images and labels, split into train, validation and test."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

CHUNK = 2**20  # pixels at a time: NumPy counts bytes as int64, whole sets at once would take eight times their size


@dataclass(frozen=True)
class Split:
    """`images` (N, H, W, C) uint8 or float32; `labels` (N,) int64, or (N, L) float32 of 0 and 1 for multi-label data."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Split":
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Dataset:
    """`classes` counts classes, or labels of multi-label data. `digest` is a SHA-256 over all arrays as they were given;
    `split` says how validation was set aside, indices included. Only `verify` may look at `test`."""

    name: str
    task: Literal["classification", "multi-label"]
    classes: int
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split | None
    digest: str
    split: dict[str, Any]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)"""
        _, height, width, channels = self.train.images.shape
        return channels, height, width

    @cached_property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        images = self.train.images
        step = max(1, CHUNK // (images.shape[1] * images.shape[2]))
        chunks = [images[first : first + step] for first in range(0, len(images), step)]
        if images.dtype == np.uint8:
            counts = np.sum([_histogram(chunk) for chunk in chunks], axis=0)
            shares, levels = counts / counts.sum(axis=1, keepdims=True), np.arange(256)
            mean = shares @ levels
            return mean, np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1))
        pixels = images.size // images.shape[-1]
        mean = np.sum([chunk.sum(axis=(0, 1, 2), dtype=np.float64) for chunk in chunks], axis=0) / pixels
        return mean, np.sqrt(np.sum([((chunk - mean) ** 2).sum(axis=(0, 1, 2)) for chunk in chunks], axis=0) / pixels)

    @property
    def mean(self) -> np.ndarray:
        """(C,), of the training split, in the images' own units."""
        return self._moments[0]

    @property
    def std(self) -> np.ndarray:
        """(C,), of the training split; 1 for a channel that never changes."""
        mean, std = self._moments
        return np.where(std > 1e-9 * np.abs(mean), std, 1.0)  # a constant's std is rounding: 1e-16 of it, not 0


def _histogram(images: np.ndarray) -> np.ndarray:
    """(C, 256): how often each level stands in each channel of uint8 images."""
    return np.stack([np.bincount(images[..., c].ravel(), minlength=256) for c in range(images.shape[-1])])


def digest_of(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def describe(dataset: Dataset) -> dict[str, Any]:
    """What `raynas data NAME` shows."""
    found: dict[str, Any] = {
        "name": dataset.name,
        "task": dataset.task,
        "shape": "x".join(str(side) for side in dataset.input_shape),
        "classes": dataset.classes,
    }
    for name, part in (("train", dataset.train), ("validation", dataset.validation), ("test", dataset.test)):
        if part is not None:
            counts = (
                part.labels.sum(axis=0)
                if part.labels.ndim == 2
                else np.bincount(part.labels, minlength=dataset.classes)
            )
            each = ", ".join(
                f"{label} {int(count):,}" for label, count in zip(dataset.class_names, counts, strict=True)
            )
            found[name] = f"{len(part):,} images ({each})"
    found["validation from"] = "the file" if dataset.split["origin"] == "file" else "train, stratified by seed"
    found["sha256"] = dataset.digest
    return found
