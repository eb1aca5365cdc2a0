"""Data by name, by path or in person becomes a Dataset."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from raynas.data.check import SMALLEST, check_arrays, count_classes
from raynas.data.dataset import Dataset, Split, digest_of
from raynas.data.download import SOURCES, download
from raynas.data.folder import read_folder
from raynas.data.read import read_in_person, read_npz
from raynas.data.split import SPLITS, check_share, set_test_aside, validation_split
from raynas.tables import InputError, look_up, unknown

PACKAGED = ("fashion_mnist_mini",)
DATASETS: dict[str, Callable[[str, Path], dict[str, np.ndarray]] | None] = {**dict.fromkeys(PACKAGED), **SOURCES}

_CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CLASS_NAMES = {"fashion_mnist": _CLOTHES, "fashion_mnist_mini": _CLOTHES, "cifar10": _THINGS}


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
    split: str = "official",
) -> Dataset:
    """A dataset from a name, a `.npz` in MedMNIST's layout, a folder of images, `(images, labels)`, a mapping with the
    keys of that layout, or a torch Dataset of (image, label) pairs. Validation is the file's own, or a stratified
    share `validation` of train by `seed`; a folder without a test split has one set aside likewise. With `split` "merged"
    all images of the data are one pool from which validation is drawn, and no test split is left. A known name is
    never taken for a folder: `./mnist` is one. Raises InputError for all that cannot be used."""
    check_share(validation)
    regroup = look_up("split", split, SPLITS)
    given = os.fspath(data) if isinstance(data, str | os.PathLike) else None
    path = Path(given).expanduser() if given and given not in DATASETS else None
    is_folder = path is not None and path.is_dir()
    if image_size is not None and not is_folder:
        raise InputError("image_size only goes with a folder of images")
    if image_size is not None and image_size < SMALLEST:
        raise InputError(f"image_size must be at least {SMALLEST}, got {image_size}")
    name = "arrays"
    note: dict[str, Any] = {}
    if path is not None and is_folder:
        name = path.resolve().name
        arrays, class_names, note = _read_folder(path, image_size)
    elif given is not None:
        file = _locate(given, data_dir)
        name, arrays = file.stem, read_npz(file)
        class_names = CLASS_NAMES.get(name)
    else:
        arrays, class_names = read_in_person(data), None
    arrays = check_arrays(name, arrays)
    digest = digest_of(arrays)  # before anything is set aside: the same data, the same digest, whatever the seed
    if is_folder and split == "official" and "test_images" not in arrays:
        arrays, aside = set_test_aside(arrays, seed)
        note = {**note, **aside}
    if split != "official":
        note = {**note, "split": split}
    return _assemble(name, regroup(arrays), class_names, digest, note, seed, validation)


def _locate(data: str, data_dir: str | Path | None) -> Path:
    """The file of a name or path; downloaded when it is a name that is not here."""
    path = Path(data).expanduser()
    if data not in DATASETS and (path.suffix == ".npz" or os.sep in data or path.is_file()):
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
    return download(data, folder)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _read_folder(
    path: Path, image_size: int | None
) -> tuple[dict[str, np.ndarray], tuple[str, ...] | None, dict[str, Any]]:
    try:
        return read_folder(path, image_size)
    except OSError as error:
        raise InputError(f"cannot read the folder '{path}': {error}") from error


def _assemble(
    name: str,
    arrays: dict[str, np.ndarray],
    class_names: tuple[str, ...] | None,
    digest: str,
    note: dict[str, Any],
    seed: int,
    fraction: float,
) -> Dataset:
    classes = count_classes(name, arrays, class_names)
    labels = arrays["train_labels"]
    train = Split(arrays["train_images"], labels)
    if "val_images" in arrays:
        validation = Split(arrays["val_images"], arrays["val_labels"])
        record: dict[str, Any] = dict.fromkeys(("fraction", "seed", "sha256", "validation_indices"))
        record["origin"] = "file"
    else:
        kept, held, record = validation_split(labels, fraction, seed)
        train, validation = train.take(kept), train.take(held)
    test = Split(arrays["test_images"], arrays["test_labels"]) if "test_images" in arrays else None
    sizes = {"train": len(train), "validation": len(validation), "test": 0 if test is None else len(test)}
    return Dataset(
        name=name,
        task="multi-label" if labels.ndim == 2 else "classification",
        classes=classes,
        class_names=class_names or tuple(str(label) for label in range(classes)),
        train=train,
        validation=validation,
        test=test,
        digest=digest,
        split={**record, **sizes, **note},
    )
