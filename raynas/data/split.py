"""Setting images aside, class by class."""

import hashlib
from typing import Any

import numpy as np

from raynas.rng import stream
from raynas.tables import InputError


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


def validation_split(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Indices of train and validation and the record of the split that is stored with the experiment."""
    if not 0 < fraction < 1:
        raise InputError(f"validation is the share of train that is set aside, between 0 and 1, got {fraction}")
    kept, held = stratified(labels, fraction, stream(seed, 0))
    if not len(held):
        raise InputError(f"{len(labels)} training images leave none for validation")
    record = {
        "origin": "stratified",
        "fraction": fraction,
        "seed": seed,
        "sha256": hashlib.sha256(held.tobytes()).hexdigest(),
        "validation_indices": held.tolist(),
    }
    return kept, held, record
