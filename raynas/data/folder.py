"""A folder of images, one folder a class (ImageFolder)."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from raynas.data.split import stratified
from raynas.rng import stream
from raynas.tables import InputError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
PARTS = {"train": ("train", "training"), "val": ("val", "validation", "valid"), "test": ("test", "testing")}
TEST_SHARE = 0.15  # set aside where the folder brings no test split


def _folders(root: Path) -> dict[str, Path]:
    """The split folders of `root`; only "train", itself, where it holds classes directly."""
    there = {child.name.lower(): child for child in root.iterdir() if child.is_dir() and not child.name.startswith(".")}
    found = {part: there[name] for part, names in PARTS.items() for name in names if name in there}
    return found if "train" in found else {"train": root}


def _files(folder: Path, classes: list[str]) -> list[tuple[Path, int]]:
    """The image files of every class, in order."""
    strangers = [child.name for child in sorted(folder.iterdir()) if child.is_dir() and child.name not in classes]
    strangers = [name for name in strangers if not name.startswith(".")]
    if strangers:
        raise InputError(f"'{folder}' has class folders that train has not: {', '.join(strangers)}")
    found = []
    for label, name in enumerate(classes):
        if (folder / name).is_dir():
            found += [(file, label) for file in sorted((folder / name).rglob("*")) if file.suffix.lower() in ENDINGS]
    return found


def _classes(folder: Path) -> list[str]:
    classes = sorted(child.name for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    if not classes:
        raise InputError(f"'{folder}' holds no class folders; it must read CLASS/image.png or train/CLASS/image.png")
    for name in classes:
        if not any(file.suffix.lower() in ENDINGS for file in (folder / name).rglob("*")):
            raise InputError(f"the class folder '{folder / name}' holds no images ({', '.join(ENDINGS)})")
    if len(classes) == 1:
        raise InputError(f"'{folder}' has one class only ('{classes[0]}'); classification needs two")
    return classes


def _open(path: Path) -> Any:
    from PIL import Image

    try:
        return Image.open(path)
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise InputError(f"cannot read the image '{path}': {error}") from error


def _headers(files: list[Path]) -> tuple[Counter[tuple[int, int]], bool]:
    """The sizes of all images and whether all are grey; nothing is decoded."""
    sizes: Counter[tuple[int, int]] = Counter()
    grey = True
    for path in files:
        with _open(path) as image:
            sizes[image.size] += 1
            grey &= image.mode in ("L", "1", "I;16")
    return sizes, grey


def _decode(path: Path, mode: str, size: tuple[int, int]) -> np.ndarray:
    """(H, W, C) uint8: the shorter side scaled to fit, the rest cut off evenly."""
    from PIL import Image, ImageOps

    try:
        image = _open(path).convert(mode)
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"cannot read the image '{path}': {error}") from error
    if image.size != size:
        image = ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(size[1], size[0], len(mode))


def _free_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def read_folder(
    root: Path, image_size: int | None, seed: int
) -> tuple[dict[str, np.ndarray], tuple[str, ...], dict[str, Any]]:
    """The arrays of a folder in MedMNIST's layout, the class names, and what was done to them."""
    folders = _folders(root)
    classes = _classes(folders["train"])
    listed = {part: _files(folder, classes) for part, folder in folders.items()}
    files = [file for part in listed.values() for file, _ in part]
    sizes, grey = _headers(files)
    note: dict[str, Any] = {}
    if image_size is not None:
        size = (image_size, image_size)
    elif len(sizes) == 1:
        size = next(iter(sizes))
    else:
        side = int(np.median([min(shape) for shape in sizes.elements()]))
        size = (side, side)
    if sizes.keys() != {size}:
        note["resized_to"] = list(size)
    mode = "L" if grey else "RGB"
    needed = len(files) * size[0] * size[1] * len(mode)
    if needed > _free_bytes() / 2:
        raise InputError(
            f"'{root}' would take {needed / 2**30:.1f} GiB at {size[0]}x{size[1]}, "
            "more than half of the free memory; give a smaller image_size"
        )
    arrays = {}
    for part, entries in listed.items():
        images = np.empty((len(entries), size[1], size[0], len(mode)), np.uint8)
        for index, (file, _) in enumerate(entries):
            images[index] = _decode(file, mode, size)
        arrays[f"{part}_images"] = images
        arrays[f"{part}_labels"] = np.array([label for _, label in entries], np.int64)
    if "test" not in folders:
        kept, held = stratified(arrays["train_labels"], TEST_SHARE, stream(seed, 1))
        arrays["test_images"], arrays["test_labels"] = arrays["train_images"][held], arrays["train_labels"][held]
        arrays["train_images"], arrays["train_labels"] = arrays["train_images"][kept], arrays["train_labels"][kept]
        note["test"] = f"{TEST_SHARE:.0%} set aside by seed {seed}"
    return arrays, tuple(classes), note
