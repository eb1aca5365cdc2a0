"""Data by name, by path or in person becomes a Dataset."""

import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from raynas.data.dataset import Dataset, Split, digest_of
from raynas.data.download import SOURCES, download
from raynas.data.folder import read_folder
from raynas.data.split import validation_split
from raynas.tables import InputError, unknown

PACKAGED = ("fashion_mnist_mini",)
DATASETS: dict[str, Callable[[str, Path], dict[str, np.ndarray]] | None] = {**dict.fromkeys(PACKAGED), **SOURCES}
SMALLEST = 8  # pixels a side

_CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
CLASS_NAMES = {"fashion_mnist": _CLOTHES, "fashion_mnist_mini": _CLOTHES}


def names() -> list[str]:
    """The datasets known by name."""
    return sorted(DATASETS)


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raynas"


def data_folder(given: str | Path | None = None) -> Path:
    """Where datasets are looked for: the argument, $RAYNAS_DATA, or the user's cache."""
    return Path(given or os.environ.get("RAYNAS_DATA") or cache()).expanduser()


def find(name: str, data_dir: str | Path | None = None) -> Path | None:
    """The file of a named dataset, if it is here."""
    folders = [data_folder(data_dir), cache(), *([Path(__file__).parent] if name in PACKAGED else [])]
    return next((path for folder in folders if (path := folder / f"{name}.npz").is_file()), None)


def load(
    data: Any,
    *,
    data_dir: str | Path | None = None,
    seed: int = 0,
    validation: float = 0.1,
    image_size: int | None = None,
) -> Dataset:
    """A dataset from a name, a `.npz` in MedMNIST's layout, a folder of images, `(images, labels)`, a mapping with the
    keys of that layout, or a torch Dataset of (image, label) pairs. Validation is the file's own, or a stratified
    share `validation` of train by `seed`. Raises InputError for all that cannot be used."""
    class_names: tuple[str, ...] | None = None
    note: dict[str, Any] = {}
    path = Path(data) if isinstance(data, str | os.PathLike) else None
    if image_size is not None and not (path is not None and path.is_dir()):
        raise InputError("image_size only goes with a folder of images")
    if image_size is not None and image_size < SMALLEST:
        raise InputError(f"image_size must be at least {SMALLEST}, got {image_size}")
    name = "arrays"
    if path is not None and path.is_dir():
        name = path.resolve().name
        arrays, class_names, note = read_folder(path, image_size, seed)
    elif path is not None:
        name, arrays = path.stem, _read_npz(_locate(os.fspath(data), data_dir))
    else:
        arrays = _in_person(data)
    arrays = _check_arrays(name, arrays)
    return _assemble(name, arrays, class_names or CLASS_NAMES.get(name), note, seed, validation)


def _locate(data: str, data_dir: str | Path | None) -> Path:
    """The file of a name or path; downloaded when it is a name that is not here."""
    path = Path(data)
    if path.suffix == ".npz" or os.sep in data:
        if not path.is_file():
            raise InputError(
                f"there is no file or folder '{data}'; data is a name ({', '.join(names())}), a .npz or a folder"
            )
        return path
    if (here := find(data, data_dir)) is not None:
        return here
    if data not in DATASETS:
        folder = data_folder(data_dir)
        raise InputError(
            f"{unknown('dataset', data, DATASETS)}. Data of your own is a .npz, a folder of images, or {data}.npz in '{folder}'"
        )
    folders = [data_folder(data_dir), cache()]
    folder = next((folder for folder in folders if _writable(folder)), folders[-1])
    return _download(data, folder)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _download(name: str, folder: Path) -> Path:
    """Fetch a dataset by the library that owns it and keep it as NAME.npz: whole or not at all."""
    target = folder / f"{name}.npz"
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
            fresh = Path(scratch) / target.name
            with open(fresh, "wb") as file:
                arrays: dict[str, Any] = dict(download(name, Path(scratch)))
                np.savez_compressed(file, **arrays)
            os.replace(fresh, target)
    except Exception as error:  # the libraries raise whatever their network code raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"cannot download '{name}': {reason}. Put {name}.npz (MedMNIST's layout) into '{folder}'"
        ) from error
    return target


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise InputError(f"'{path}' holds a single array; it must be a .npz in MedMNIST's layout")
            return {key: file[key] for key in file.files}
    except InputError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(f"cannot read '{path}': {error}") from error
    except Exception as error:  # a damaged archive can raise anything, zlib.error among it
        raise InputError(f"cannot read '{path}': {type(error).__name__}: {error}") from error


def _in_person(data: Any) -> dict[str, np.ndarray]:
    """The arrays of what a Python caller hands over."""
    if isinstance(data, Mapping):
        return {str(key): np.asarray(value) for key, value in data.items()}
    if isinstance(data, tuple | list) and len(data) == 2:
        return {"train_images": np.asarray(data[0]), "train_labels": np.asarray(data[1])}
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        pairs = [data[index] for index in range(len(data))]
        if pairs and all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
            images = np.stack([np.asarray(image) for image, _ in pairs])
            return {"train_images": images, "train_labels": np.asarray([np.asarray(label) for _, label in pairs])}
    raise InputError(
        f"data is a name, a path, (images, labels), a mapping of arrays or a dataset of pairs, got {type(data).__name__}"
    )


def _check_arrays(name: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The known arrays in one form: images (N, H, W, C), labels (N,) int64 or (N, L) float32."""
    missing = [key for key in ("train_images", "train_labels") if key not in arrays]
    if missing:
        raise InputError(f"'{name}' lacks {' and '.join(missing)}; it has {', '.join(arrays) or 'nothing'}")
    checked = {}
    for part in ("train", "val", "test"):
        images, labels = arrays.get(f"{part}_images"), arrays.get(f"{part}_labels")
        if images is None and labels is None:
            continue
        if images is None or labels is None:
            raise InputError(f"'{name}' has {part}_{'labels' if images is None else 'images'} without the other")
        where = f"{part} of '{name}'"
        checked[f"{part}_images"], checked[f"{part}_labels"] = _images(images, where), _labels(labels, where)
        if len(images) != len(labels):
            raise InputError(f"{where} has {len(images)} images and {len(labels)} labels")
        if part == "train" and not len(images):
            raise InputError(f"{where} is empty")
        if not len(images):
            del checked[f"{part}_images"], checked[f"{part}_labels"]
        elif checked[f"{part}_images"].shape[1:] != checked["train_images"].shape[1:]:
            raise InputError(f"{where} has images of {images.shape[1:]}, train of {arrays['train_images'].shape[1:]}")
        elif checked[f"{part}_labels"].shape[1:] != checked["train_labels"].shape[1:]:
            raise InputError(f"{where} has labels of another form than train")
    return checked


def _images(images: np.ndarray, where: str) -> np.ndarray:
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
    if images.dtype == bool or not (
        np.issubdtype(images.dtype, np.floating) or np.issubdtype(images.dtype, np.integer)
    ):
        raise InputError(f"{where}: images must be bytes or numbers, got {images.dtype}")
    numbers = np.ascontiguousarray(images, dtype=np.float32)
    if not np.isfinite(numbers).all():
        raise InputError(f"{where}: images hold NaN or infinite values")
    return numbers


def _labels(labels: np.ndarray, where: str) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim not in (1, 2):
        raise InputError(f"{where}: labels must be (N,), (N, 1) or (N, L), got shape {labels.shape}")
    if not (np.issubdtype(labels.dtype, np.number) or labels.dtype == bool):
        raise InputError(f"{where}: labels must be whole numbers, got {labels.dtype}")
    if labels.ndim == 2:
        if not np.isin(labels, (0, 1)).all():
            raise InputError(f"{where}: labels of several columns must be 0 or 1, got {np.unique(labels)[:5].tolist()}")
        return labels.astype(np.float32)
    if not np.isfinite(labels).all() or (labels != np.floor(labels)).any():
        raise InputError(
            f"{where}: labels must be whole numbers, got {labels[labels != np.floor(labels)][:3].tolist()}"
        )
    if len(labels) and labels.min() < 0:
        raise InputError(f"{where}: labels must be 0 or more, got {int(labels.min())}")
    return labels.astype(np.int64)


def _assemble(
    name: str,
    arrays: dict[str, np.ndarray],
    class_names: tuple[str, ...] | None,
    note: dict[str, Any],
    seed: int,
    fraction: float,
) -> Dataset:
    labels = arrays["train_labels"]
    multi = labels.ndim == 2
    classes = labels.shape[1] if multi else len(class_names) if class_names else int(labels.max()) + 1
    for part in ("train", "val", "test"):
        given = arrays.get(f"{part}_labels")
        if given is not None and not multi and given.max() >= classes:
            raise InputError(
                f"{part} of '{name}' has the label {int(given.max())}; train has the classes 0..{classes - 1}"
            )
    if not multi and len(np.unique(labels)) < 2:
        raise InputError(f"train of '{name}' has one class only ({int(labels[0])}); classification needs two")
    train = Split(arrays["train_images"], labels)
    if "val_images" in arrays:
        validation = Split(arrays["val_images"], arrays["val_labels"])
        record: dict[str, Any] = {"origin": "file", "sha256": None, "validation_indices": None}
    else:
        kept, held, record = validation_split(labels, fraction, seed)
        train, validation = train.take(kept), train.take(held)
    test = Split(arrays["test_images"], arrays["test_labels"]) if "test_images" in arrays else None
    sizes = {"train": len(train), "validation": len(validation), "test": 0 if test is None else len(test)}
    return Dataset(
        name=name,
        task="multi-label" if multi else "classification",
        classes=classes,
        class_names=class_names or tuple(str(label) for label in range(classes)),
        train=train,
        validation=validation,
        test=test,
        digest=digest_of(arrays),
        split={**record, **sizes, **note},
    )
