"""What people have — image files, folders, arrays — becomes what a network takes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from raynas.data.check import check_images
from raynas.data.folder import ENDINGS, decode, fitted, image_files
from raynas.exports.record import Record
from raynas.tables import InputError, nearest

ARRAYS = (".npy", ".npz")


def read_images(images: Any, record: Record) -> tuple[list[str], np.ndarray]:
    """What each image is called, and all of them as (N, H, W, C) in the network's own size, channels and units.

    `images`: a path of an image file, of a folder of them, of a `.npy` or of a `.npz` (`FILE.npz#KEY` where it holds
    several arrays); an array of one image or of several; or a list of any of these. Files and bytes are scaled as folders of
    training images are; numbers of another kind must be in the data's own units and size.
    """
    parts = images if isinstance(images, list | tuple) else [images]
    if not parts:
        raise InputError("no images were given")
    found = [part for number, item in enumerate(parts) for part in _read(item, record, str(number))]
    return [name for name, _ in found], np.stack([image for _, image in found])


def _read(item: Any, record: Record, name: str) -> Iterable[tuple[str, np.ndarray]]:
    if not isinstance(item, str | Path):
        return _several(_array(item), record, f"image {name}", "" if name == "0" else f"{name}.")
    text, _, key = str(item).partition("#")
    if text.endswith(ARRAYS):
        return _several(_load(Path(text), key), record, f"'{item}'", f"{item} ")
    path = Path(item)
    if path.is_dir():
        files = image_files(path)
        if not files:
            raise InputError(f"'{path}' holds no images ({', '.join(ENDINGS)})")
        return [(str(file), _file(file, record)) for file in files]
    if not path.is_file():
        near = nearest(path.name, [other.name for other in path.parent.glob("*")]) if path.parent.is_dir() else ""
        raise InputError(f"there is no image '{path}'.{near} Images are files, folders of them, .npy and .npz")
    return [(str(path), _file(path, record))]


def _mode(record: Record) -> tuple[str, tuple[int, int]]:
    """Pillow's mode and size (width, height) of the network's images."""
    channels, height, width = record.shape
    return "L" if channels == 1 else "RGB", (width, height)


def _file(path: Path, record: Record) -> np.ndarray:
    if record.dtype != "uint8":
        raise InputError(
            f"'{path}' is an image file: the network was trained on numbers that are no pixels of 0 to 255; give a .npy of such"
        )
    return decode(path, *_mode(record))


def _array(item: Any) -> np.ndarray:
    """A NumPy array, a Pillow image, or a tensor, wherever it lies."""
    try:
        return np.asarray(item.detach().cpu() if hasattr(item, "detach") else item)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"images are paths or arrays, got {type(item).__name__}: {error}") from error


def _load(path: Path, key: str) -> np.ndarray:
    """An array file's array; of several the one called `key`, or "images"."""
    try:
        opened = np.load(path, allow_pickle=False)
    except Exception as error:  # a damaged archive can raise anything
        raise InputError(f"cannot read '{path}': {error}") from error
    if isinstance(opened, np.ndarray):
        return opened
    with opened:
        names = list(opened.files)
        wanted = key or (names[0] if len(names) == 1 else "images")
        if wanted not in names:
            raise InputError(
                f"say which array of '{path}', as {path}#NAME.{nearest(wanted, names)} It has {', '.join(names)}"
            )
        try:
            return np.asarray(opened[wanted])
        except Exception as error:
            raise InputError(f"cannot read {wanted} of '{path}': {error}") from error


def _several(array: np.ndarray, record: Record, where: str, prefix: str) -> list[tuple[str, np.ndarray]]:
    """The images of an array: one of (H, W), (H, W, 3) or, for colour, (3, H, W); several of (N, H, W), (N, H, W, C), (N, C, H, W)."""
    colour = array.ndim == 3 and 3 in (array.shape[-1], array.shape[0] if record.shape[0] == 3 else 0)
    stacked = check_images(array[None] if array.ndim == 2 or colour else array, where)
    if not len(stacked):
        raise InputError(f"{where} holds no images")
    suit = _bytes if record.dtype == "uint8" else _numbers
    return [(f"{prefix}{number}", image) for number, image in enumerate(suit(stacked, array.dtype, record, where))]


def _bytes(images: np.ndarray, dtype: Any, record: Record, where: str) -> list[np.ndarray]:
    """For networks of bytes. Numbers from 0 to 1 would pass for black images: they are refused."""
    low, high = float(images.min()), float(images.max())
    whole = images.dtype == np.uint8 or bool((images == np.floor(images)).all())
    if not whole or low < 0 or high > 255 or (np.dtype(dtype).kind == "f" and high <= 1):
        raise InputError(
            f"{where}: the network was trained on bytes, 0 to 255; got {dtype} from {low:.3g} to {high:.3g}. Give uint8"
        )
    from PIL import Image

    pixels, (mode, size) = images.astype(np.uint8), _mode(record)
    if pixels.shape[1:] == (size[1], size[0], len(mode)):
        return list(pixels)
    return [fitted(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), mode, size) for image in pixels]


def _numbers(images: np.ndarray, dtype: Any, record: Record, where: str) -> list[np.ndarray]:
    """For networks of numbers in units of their own."""
    channels, height, width = record.shape
    if images.dtype == np.uint8:
        raise InputError(f"{where} has bytes; the network was trained on float32, give the images in its data's units")
    if images.shape[1:] != (height, width, channels):
        raise InputError(f"{where} has images of {images.shape[1:]}; the network takes {(height, width, channels)}")
    return list(images)
