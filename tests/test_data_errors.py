"""Data at the door: what cannot be used is said in one InputError, whatever it is that cannot."""

import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from raynas.data import load
from raynas.tables import InputError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 9, 9), dtype=np.uint8)
LABELS = np.arange(20) % 2
GOOD = {"train_images": IMAGES, "train_labels": LABELS}
SPOILED = IMAGES.astype(np.float32)
SPOILED[3, 4, 5] = np.nan


class Pairs(torch.utils.data.Dataset):
    def __init__(self, pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]


def part(name, images=IMAGES[:4], labels=LABELS[:4]):
    return {**GOOD, f"{name}_images": images, f"{name}_labels": labels}


IN_PERSON = {
    "nothing": (None, ["got NoneType"]),
    "a number": (17, ["got int"]),
    "an empty dataset": (Pairs([]), ["a dataset of pairs"]),
    "a dataset of triples": (Pairs([(1, 2, 3)] * 3), ["a dataset of pairs"]),
    "a dataset of two sizes": (Pairs([(IMAGES[0], 0), (IMAGES[1, :8], 1), (IMAGES[2], 0)]), ["one shape", "(8, 9)", "(9, 9)"]),
    "no labels": ({"train_images": IMAGES}, ["lacks train_labels", "it has train_images"]),
    "an empty mapping": ({}, ["lacks train_images and train_labels", "it has nothing"]),
    "half a split": ({**GOOD, "val_labels": LABELS}, ["val_labels without the other"]),
    "ragged images": (([np.zeros((9, 9)), np.zeros((9, 8))], [0, 1]), ["images cannot be made an array"]),
    "lengths": ((IMAGES, LABELS[:-1]), ["20 images and 19 labels"]),
    "lengths of test": (part("test", IMAGES[:3]), ["test of", "3 images and 4 labels"]),
    "no images": ((IMAGES[:0], LABELS[:0]), ["train of 'arrays' is empty"]),
    "one class": ((IMAGES, LABELS * 0 + 1), ["one class only (1)"]),
    "two dimensions": ((IMAGES[:, 0], LABELS), ["(N, H, W)", "(20, 9)"]),
    "five dimensions": ((IMAGES[:, None, None], LABELS), ["(N, H, W, C)", "(20, 1, 1, 9, 9)"]),
    "two channels": ((np.stack([IMAGES] * 2, axis=-1), LABELS), ["1 or 3 channels", "(20, 9, 9, 2)"]),
    "four channels": ((np.stack([IMAGES] * 4, axis=-1), LABELS), ["1 or 3 channels"]),
    "small": ((IMAGES[:, :7], LABELS), ["at least 8 px", "7x9"]),
    "not a number": ((SPOILED, LABELS), ["NaN or infinite"]),
    "too large for float32": ((IMAGES * 1e300, LABELS), ["NaN or infinite"]),
    "complex images": ((IMAGES * 1j, LABELS), ["bytes or numbers", "complex128"]),
    "true images": ((IMAGES > 9, LABELS), ["bytes or numbers", "bool"]),
    "objects": ((IMAGES.astype(object), LABELS), ["bytes or numbers", "object"]),
    "fractions as labels": ((IMAGES, LABELS + 0.5), ["whole numbers", "0.5"]),
    "nan as a label": ((IMAGES, np.where(LABELS, np.nan, 0)), ["whole numbers", "nan"]),
    "infinity as a label": ((IMAGES, np.where(LABELS, np.inf, 0)), ["whole numbers", "inf"]),
    "words as labels": ((IMAGES, ["cat", "dog"] * 10), ["whole numbers", "<U3"]),
    "complex labels": ((IMAGES, LABELS * 1j), ["whole numbers", "complex128"]),
    "a negative label": ((IMAGES, LABELS - 1), ["0 or more", "-1"]),
    "years as labels": ((IMAGES, LABELS + 2020), ["label 2021", "20 images"]),
    "a giant label": ((IMAGES, LABELS * 10**12), ["0..classes-1", "1000000000000"]),
    "a float giant": ((IMAGES, LABELS * 1e300), ["0..classes-1", "1e+300"]),
    "columns of 0 to 2": ((IMAGES, np.stack([LABELS, LABELS * 2], axis=1)), ["0 or 1", "2"]),
    "no columns": ((IMAGES, np.zeros((20, 0))), ["(N, L)", "(20, 0)"]),
    "labels like images": ((IMAGES, IMAGES), ["(N, L)", "(20, 9, 9)"]),
    "test beyond train": (part("test", labels=LABELS[:4] + 1), ["test of 'arrays'", "label 2", "train", "0..1"]),
    "val beyond train": (part("val", labels=LABELS[:4] * 7), ["val of 'arrays'", "label 7", "0..1"]),
    "test of another size": (part("test", IMAGES[:4, 1:]), ["(8, 9, 1)", "train of (9, 9, 1)"]),
    "test in other units": (part("test", IMAGES[:4] / 255), ["float32", "train uint8", "units"]),
    "test of other columns": (part("test", labels=np.eye(4)), ["(4, 4)", "train of (20,)"]),
    "too few": ((IMAGES[:2], LABELS[:2]), ["2 training images leave none for validation"]),
}  # fmt: skip


@pytest.mark.parametrize("case", IN_PERSON)
@pytest.mark.filterwarnings("error")
def test_what_is_handed_over_is_checked(case):
    data, fragments = IN_PERSON[case]
    with pytest.raises(InputError) as caught:
        load(data)
    for fragment in fragments:
        assert fragment in str(caught.value)


def saved(**arrays):
    def write(path):
        np.savez(path, **arrays)

    return write


def npz_bytes(folder):
    np.savez_compressed(folder / "whole.npz", **GOOD)
    return (folder / "whole.npz").read_bytes()


def npy_bytes():
    buffer = io.BytesIO()
    np.save(buffer, IMAGES)
    return buffer.getvalue()


def spoiled(path):
    data = bytearray(npz_bytes(path.parent))
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def without_arrays(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("train_images.npy", "no array")
        file.writestr("train_labels.npy", "no array")


FILES = {
    "text": (lambda path: path.write_text("hello"), ["is not a .npz"]),
    "empty": (lambda path: path.write_bytes(b""), ["is not a .npz"]),
    "one array": (lambda path: path.write_bytes(npy_bytes()), ["is not a .npz"]),
    "cut off": (lambda path: path.write_bytes(npz_bytes(path.parent)[:-300]), ["is not a .npz", "not all of one"]),
    "one byte wrong": (spoiled, ["cannot read train_images", "'"]),
    "other keys": (saved(x=IMAGES, y=LABELS), ["lacks train_images and train_labels", "it has x, y"]),
    "one key": (saved(train_images=IMAGES, labels=LABELS), ["lacks train_labels", "it has train_images, labels"]),
    "half a test": (saved(**GOOD, test_images=IMAGES), ["test_images without the other"]),
    "pickles": (saved(train_images=np.array([None, 1], object), train_labels=LABELS), ["train_images", "pickle", "never read"]),
    "no arrays": (without_arrays, ["train_images", "is not an array"]),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
@pytest.mark.filterwarnings("error")
def test_what_lies_in_a_file_is_checked(tmp_path, case):
    write, fragments = FILES[case]
    path = tmp_path / "mine.npz"
    write(path)
    with pytest.raises(InputError) as caught:
        load(path)
    for fragment in [*fragments, "mine.npz"]:
        assert fragment in str(caught.value)


def test_nothing_in_a_file_is_ever_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    np.savez(tmp_path / "trap.npz", train_images=np.array([Trap()], object), train_labels=np.array([Trap()], object))
    with pytest.raises(InputError):
        load(tmp_path / "trap.npz")
    assert not (tmp_path / "sprung").exists()


def test_pickles_that_nobody_asked_for_do_no_harm(tmp_path):
    np.savez(tmp_path / "mine.npz", **GOOD, notes=np.array([None], object))
    assert load(tmp_path / "mine.npz").classes == 2


def test_a_giant_label_takes_no_memory():
    """Names for 10**12 classes once filled the machine."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30,) * 2)\n"
        "import numpy as np\nfrom raynas.data import load\nfrom raynas.tables import InputError\n"
        "for giant in (10**9, 10**12):\n"
        "    try: load((np.zeros((20, 9, 9), np.uint8), np.arange(20) % 2 * giant))\n"
        "    except InputError: pass\n"
        "    else: raise SystemExit('no error')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


NAMES = {
    "fashon_mnist": ["unknown dataset 'fashon_mnist'", "Did you mean 'fashion_mnist'?", "cifar10", "fashon_mnist.npz"],
    "PathMNIST": ["Did you mean 'pathmnist'?"],
    "": ["unknown dataset ''"],
    "nowhere/mine.npz": ["no file or folder 'nowhere/mine.npz'", "a .npz or a folder"],
    "nowhere/images": ["no file or folder 'nowhere/images'"],
    "~/nowhere.npz": ["no file or folder '~/nowhere.npz'"],
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_nobody_knows_gets_the_nearest(name, tmp_path, monkeypatch):
    monkeypatch.setenv("RAYNAS_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InputError) as caught:
        load(name)
    for fragment in NAMES[name]:
        assert fragment in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_kind_is_called_that(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images.tar").write_text("")
    with pytest.raises(InputError, match="'images.tar' is not a .npz"):
        load("images.tar")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_said(tmp_path):
    np.savez(tmp_path / "mine.npz", **GOOD)
    (tmp_path / "mine.npz").chmod(0)
    with pytest.raises(InputError, match=r"cannot read '.*mine.npz'.*[Pp]ermission"):
        load(tmp_path / "mine.npz")


@pytest.mark.parametrize("validation", [0, 1, -0.1, 1.5, float("nan")])
@pytest.mark.parametrize("data", [GOOD, part("val"), "a name that is not looked up"], ids=["split", "own", "name"])
def test_validation_is_a_share(data, validation):
    with pytest.raises(InputError, match="between 0 and 1, got"):
        load(data, validation=validation)


@pytest.mark.parametrize("data", [GOOD, "fashion_mnist_mini", (IMAGES, LABELS)], ids=["mapping", "name", "arrays"])
def test_only_folders_are_resized(data):
    with pytest.raises(InputError, match="image_size only goes with a folder"):
        load(data, image_size=16)
