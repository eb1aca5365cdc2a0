"""A folder of images, one folder a class (ImageFolder)."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from raynas.tables import InputError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
PARTS = {"train": ("train", "training"), "val": ("val", "validation", "valid"), "test": ("test", "testing")}
GREY = ("L", "1", "I;16", "I;16B", "I;16L")


def _inside(folder: Path) -> list[Path]:
    """The folders directly in `folder`, in order."""
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def image_files(folder: Path) -> list[Path]:
    """The image files below a folder, in order; hidden ones are what macOS leaves beside the real ones."""
    files = (file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS)
    return sorted(file for file in files if not file.name.startswith("."))


def _folders(root: Path) -> dict[str, Path]:
    """The split folders of `root`; only "train", itself, where it holds classes directly."""
    there = {child.name.lower(): child for child in _inside(root)}
    named = {part: there[name] for part, names in PARTS.items() for name in names if name in there}
    found = {part: folder for part, folder in named.items() if _inside(folder)}  # a class may be called "train"
    if found and "train" not in found:
        raise InputError(f"'{root}' has {' and '.join(folder.name for folder in found.values())} but no train folder")
    return found or {"train": root}


def _files(folder: Path, classes: list[str]) -> list[tuple[Path, int]]:
    """The image files of every class, in order."""
    strangers = [child.name for child in _inside(folder) if child.name not in classes]
    if strangers:
        raise InputError(f"'{folder}' has class folders that train has not: {', '.join(strangers)}")
    found = []
    for label, name in enumerate(classes):
        if (folder / name).is_dir():
            found += [(file, label) for file in image_files(folder / name)]
    if not found:
        raise InputError(f"'{folder}' holds no images ({', '.join(ENDINGS)})")
    return found


def _classes(folder: Path) -> list[str]:
    classes = [child.name for child in _inside(folder)]
    if not classes:
        raise InputError(f"'{folder}' holds no class folders; it must read CLASS/image.png or train/CLASS/image.png")
    if len(classes) == 1:
        raise InputError(f"'{folder}' has one class only ('{classes[0]}'); classification needs two")
    return classes


def _open(path: Path) -> Any:
    from PIL import Image

    try:
        image = Image.open(path)
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise InputError(f"cannot read the image '{path}': {error}") from error
    if image.mode in ("I", "F"):  # black and white could be any two numbers
        image.close()
        raise InputError(f"'{path}' has 32 bits a pixel; save it with 8 or 16")
    return image


def _headers(files: list[Path]) -> tuple[Counter[tuple[int, int]], bool]:
    """The sizes of all images and whether all are grey; nothing is decoded."""
    sizes: Counter[tuple[int, int]] = Counter()
    grey = True
    for path in files:
        with _open(path) as image:
            sizes[image.size] += 1
            grey &= image.mode in GREY
    return sizes, grey


def decode(path: Path, mode: str, size: tuple[int, int]) -> np.ndarray:
    """(H, W, C) uint8 of an image file, as `fitted` makes it."""
    from PIL import Image

    try:
        with _open(path) as file:
            # Pillow would clip 16 bits at 255, which leaves a white image
            deep = file.mode.startswith("I;16")
            return fitted(Image.fromarray((np.asarray(file) >> 8).astype(np.uint8)) if deep else file, mode, size)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"cannot read the image '{path}': {error}") from error


def fitted(image: Any, mode: str, size: tuple[int, int]) -> np.ndarray:
    """(H, W, C) uint8 of a Pillow image, grey ("L") or "RGB": the shorter side scaled to fit, the rest cut off evenly.
    `size` is (width, height)."""
    from PIL import Image, ImageOps

    image = image.convert(mode)
    if image.size != size:
        image = ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(size[1], size[0], len(mode))


def _free_bytes() -> int:
    """Memory that can be had: the page cache counts, and a container's limit caps it."""
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit, meminfo = Path("/sys/fs/cgroup/memory.max"), Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    if limit.is_file() and (text := limit.read_text().strip()) != "max":
        free = min(free, int(text))
    return free


def _check_memory(root: Path, count: int, size: tuple[int, int], channels: int) -> None:
    needed, free = count * size[0] * size[1] * channels, _free_bytes()
    if needed > free / 2:
        fits = int((free / 2 / (count * channels)) ** 0.5)
        raise InputError(
            f"'{root}' would take {needed / 2**30:.1f} GiB at {size[0]}x{size[1]}, "
            f"more than half of the free memory; give a smaller image_size (at most {fits} fits)"
        )


def read_folder(root: Path, image_size: int | None) -> tuple[dict[str, np.ndarray], tuple[str, ...], dict[str, Any]]:
    """The arrays of a folder in MedMNIST's layout, the class names, and what was done to them."""
    folders = _folders(root)
    classes = _classes(folders["train"])
    listed = {part: _files(folder, classes) for part, folder in folders.items()}
    seen = {label for _, label in listed["train"]}
    empty = [str(folders["train"] / name) for label, name in enumerate(classes) if label not in seen]
    if empty:
        raise InputError(f"the class folder '{empty[0]}' holds no images ({', '.join(ENDINGS)})")
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
    _check_memory(root, len(files), size, len(mode))
    arrays = {}
    for part, entries in listed.items():
        images = np.empty((len(entries), size[1], size[0], len(mode)), np.uint8)
        for index, (file, _) in enumerate(entries):
            images[index] = decode(file, mode, size)
        arrays[f"{part}_images"] = images
        arrays[f"{part}_labels"] = np.array([label for _, label in entries], np.int64)
    return arrays, tuple(classes), note
