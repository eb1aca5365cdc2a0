"""Arrays at the door: one form for all that is given, or an error that says what is wrong with it."""

from collections.abc import Iterable

import numpy as np

from raynas.tables import InputError

PARTS = ("train", "val", "test")
KEYS = tuple(f"{part}_{kind}" for part in PARTS for kind in ("images", "labels"))
SMALLEST = 8  # pixels a side
MANY = 2**31  # no class has so large a number; beyond, a cast to int64 would no longer be safe


def check_keys(name: str, keys: Iterable[str]) -> None:
    """Raises InputError when images or labels of train are missing, or half of another split."""
    there = list(keys)
    missing = [key for key in ("train_images", "train_labels") if key not in there]
    if missing:
        raise InputError(f"'{name}' lacks {' and '.join(missing)}; it has {', '.join(there) or 'nothing'}")
    for part in PARTS:
        halves = [kind for kind in ("images", "labels") if f"{part}_{kind}" in there]
        if len(halves) == 1:
            raise InputError(f"'{name}' has {part}_{halves[0]} without the other")


def check_arrays(name: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The known arrays in one form: images (N, H, W, C) uint8 or float32, labels (N,) int64 or (N, L) float32.

    Empty validation and test splits are left out.
    """
    check_keys(name, arrays)
    checked: dict[str, np.ndarray] = {}
    for part in PARTS:
        if f"{part}_images" not in arrays:
            continue
        where = f"{part} of '{name}'"
        images, labels = check_images(arrays[f"{part}_images"], where), _labels(arrays[f"{part}_labels"], where)
        if len(images) != len(labels):
            raise InputError(f"{where} has {len(images)} images and {len(labels)} labels")
        if part == "train" and not len(images):
            raise InputError(f"{where} is empty")
        if len(images):
            checked[f"{part}_images"], checked[f"{part}_labels"] = images, labels
            _check_like_train(checked, part, where)
    return checked


def _check_like_train(arrays: dict[str, np.ndarray], part: str, where: str) -> None:
    images, like = arrays[f"{part}_images"], arrays["train_images"]
    labels, labels_like = arrays[f"{part}_labels"], arrays["train_labels"]
    if images.shape[1:] != like.shape[1:]:
        raise InputError(f"{where} has images of {images.shape[1:]}, train of {like.shape[1:]}")
    if images.dtype != like.dtype:  # 0..255 in one and 0..1 in the other would be normalised alike
        raise InputError(f"{where} has {images.dtype} images, train {like.dtype}; give both in the same units")
    if labels.shape[1:] != labels_like.shape[1:]:
        raise InputError(f"{where} has labels of shape {labels.shape}, train of {labels_like.shape}")


def check_images(images: np.ndarray, where: str) -> np.ndarray:
    """Images as (N, H, W, C), bytes or float32; raises InputError for what is none."""
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4:
        raise InputError(f"{where}: images must be (N, H, W) or (N, H, W, C), got shape {images.shape}")
    if images.shape[-1] not in (1, 3) and images.shape[1] in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    if images.shape[-1] not in (1, 3):
        raise InputError(f"{where}: images must have 1 or 3 channels, got shape {images.shape}")
    if len(images) and min(images.shape[1:3]) < SMALLEST:
        raise InputError(
            f"{where}: images must be at least {SMALLEST} px a side, got {images.shape[1]}x{images.shape[2]}"
        )
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if images.dtype.kind not in "uif":
        raise InputError(f"{where}: images must be bytes or numbers, got {images.dtype}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused below
        numbers = np.ascontiguousarray(images, dtype=np.float32)
    if not np.isfinite(numbers).all():
        raise InputError(f"{where}: images hold NaN or infinite values")
    return numbers


def _labels(labels: np.ndarray, where: str) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim not in (1, 2) or 0 in labels.shape[1:]:
        raise InputError(f"{where}: labels must be (N,), (N, 1) or (N, L), got shape {labels.shape}")
    if labels.dtype.kind not in "buif":
        raise InputError(f"{where}: labels must be whole numbers, got {labels.dtype}")
    if labels.ndim == 2:
        if not np.isin(labels, (0, 1)).all():
            raise InputError(f"{where}: labels of several columns must be 0 or 1, got {np.unique(labels)[:5].tolist()}")
        return labels.astype(np.float32)
    whole = np.isfinite(labels) & (labels == np.floor(labels))
    if not whole.all():
        raise InputError(f"{where}: labels must be whole numbers, got {labels[~whole][:3].tolist()}")
    if len(labels) and labels.min() < 0:
        raise InputError(f"{where}: labels must be 0 or more, got {int(labels.min())}")
    if len(labels) and labels.max() >= MANY:
        raise InputError(f"{where}: labels must be numbered 0..classes-1, got {labels.max()}")
    return labels.astype(np.int64)


def count_classes(name: str, arrays: dict[str, np.ndarray], class_names: tuple[str, ...] | None) -> int:
    """Classes, or labels of multi-label data, as train has them; raises InputError for a label beyond."""
    labels = arrays["train_labels"]
    if labels.ndim == 2:
        return int(labels.shape[1])
    if len(np.unique(labels)) < 2:
        raise InputError(f"train of '{name}' has one class only ({int(labels[0])}); classification needs two")
    highest = int(labels.max())
    if highest >= len(labels):  # years, prices or ids: a network of so many outputs would fill the memory
        raise InputError(
            f"train of '{name}' has the label {highest} but only {len(labels)} images; number the classes from 0"
        )
    classes = len(class_names) if class_names else highest + 1
    for part in PARTS:
        given = arrays.get(f"{part}_labels")
        if given is not None and given.max() >= classes:
            source = f"'{name}'" if part == "train" else "train"
            raise InputError(
                f"{part} of '{name}' has the label {int(given.max())}; {source} has the classes 0..{classes - 1}"
            )
    return classes
