"""Setting images aside, class by class."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from raynas.rng import stream
from raynas.tables import InputError

TEST_SHARE = 0.15  # set aside where a folder of images brings no test split


def stratified(labels: np.ndarray, fraction: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices (kept, held out), both sorted: `fraction` of each class is held out, at least one and never all of a class
    that has two or more. Multi-label rows are drawn without regard to class."""
    by_class = (np.flatnonzero(labels == label) for label in np.unique(labels))
    groups = [np.arange(len(labels))] if labels.ndim == 2 else list(by_class)
    out = []
    for group in groups:
        count = min(max(round(fraction * len(group)), 1), len(group) - 1)
        out.append(rng.permutation(group)[:count])
    held = np.sort(np.concatenate(out)).astype(np.int64)
    return np.setdiff1d(np.arange(len(labels), dtype=np.int64), held), held


def check_share(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise InputError(f"validation is the share of train that is set aside, between 0 and 1, got {fraction}")


def validation_split(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Indices of train and validation and the record of the split that is stored with the experiment."""
    kept, held = stratified(labels, fraction, stream(seed, 0))
    if not len(held):
        raise InputError(f"{len(labels)} training images leave none for validation")
    record = {
        "origin": "stratified",
        "fraction": fraction,
        "seed": seed,
        "sha256": _sha256(held),
        "validation_indices": held.tolist(),
    }
    return kept, held, record


def set_test_aside(arrays: dict[str, np.ndarray], seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """`arrays` with a stratified share of train as test, and the record of it."""
    images, labels = arrays["train_images"], arrays["train_labels"]
    kept, held = stratified(labels, TEST_SHARE, stream(seed, 1))
    if not len(held):
        raise InputError(f"{len(labels)} images, one a class, leave none for a test split")
    parted = {"test_images": images[held], "test_labels": labels[held]}
    parted |= {"train_images": images[kept], "train_labels": labels[kept]}
    record = {"fraction": TEST_SHARE, "seed": seed, "sha256": _sha256(held)}
    return {**arrays, **parted}, {"test_set_aside": record}


def merged(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Train, validation and test in one, as train."""
    parts = [part for part in ("train", "val", "test") if f"{part}_images" in arrays]
    return {
        f"train_{kind}": np.concatenate([arrays[f"{part}_{kind}"] for part in parts]) for kind in ("images", "labels")
    }


SPLITS: dict[str, Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]] = {
    "official": lambda arrays: arrays,
    "merged": merged,
}
"""How the data's own splits are taken: as they are, or thrown together."""


def _sha256(indices: np.ndarray) -> str:
    return hashlib.sha256(indices.tobytes()).hexdigest()
