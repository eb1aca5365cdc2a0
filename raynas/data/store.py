"""Datasets in Ray's object store: put once a node, mapped into every trial's process without a copy."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from raynas.data.dataset import Dataset, Split


@dataclass(frozen=True, eq=False)
class Shared:
    """A dataset of which the arrays of train and validation lie in the object store.

    The test split stays behind: what searches never sees it.
    """

    dataset: Dataset  # arrays replaced by empty ones
    train: tuple[Any, Any]  # ObjectRefs of images and labels
    validation: tuple[Any, Any]
    mean: np.ndarray
    std: np.ndarray


@dataclass(frozen=True, eq=False)
class Sealed:
    """A test split in the object store, for a training that scores it when it is over. No search is given one."""

    images: Any
    labels: Any


def _bare(split: Split) -> Split:
    return Split(split.images[:0], split.labels[:0])


def share(dataset: Dataset) -> Shared:
    """Put the dataset into the object store of the running Ray."""
    import ray

    parts = [(ray.put(part.images), ray.put(part.labels)) for part in (dataset.train, dataset.validation)]
    bare = replace(dataset, train=_bare(dataset.train), validation=_bare(dataset.validation), test=None)
    return Shared(bare, parts[0], parts[1], dataset.mean, dataset.std)


def seal(dataset: Dataset) -> Sealed:
    """Put the test split into the object store of the running Ray."""
    import ray

    assert dataset.test is not None
    return Sealed(ray.put(dataset.test.images), ray.put(dataset.test.labels))


def unseal(sealed: Sealed) -> Split:
    """The test split, from this node's object store."""
    import ray

    return Split(*ray.get([sealed.images, sealed.labels]))


def fetch(shared: Shared) -> Dataset:
    """The dataset, from this node's object store; without the test split."""
    import ray

    arrays = ray.get([*shared.train, *shared.validation])
    return replace(shared.dataset, train=Split(arrays[0], arrays[1]), validation=Split(arrays[2], arrays[3]))
