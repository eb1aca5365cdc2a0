"""Folders of images: what lies in them comes out as bytes, resized by the shorter side and cut in the middle."""

import numpy as np
import pytest
from PIL import Image

from raynas.data import folder as folder_module
from raynas.data import load
from raynas.tables import InputError

with np.load(folder_module.__file__.replace("folder.py", "fashion_mnist_mini.npz")) as _file:
    CLOTHES = _file["train_images"][:400]


def draw(root, parts, mode="L", size=None, ending="png"):
    """Real images as files: `parts` is {folder of a class: how many}."""
    drawn = iter(CLOTHES)
    for part, count in parts.items():
        (root / part).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image = Image.fromarray(next(drawn)).convert(mode)
            (image if size is None else image.resize(size)).save(root / part / f"{number:03d}.{ending}")
    return root


SPLIT = {"train/cat": 8, "train/dog": 6, "val/cat": 2, "val/dog": 2, "test/cat": 3, "test/dog": 3}


@pytest.mark.parametrize("val", ["val", "valid", "validation", "VAL"])
def test_a_folder_with_splits_is_read_as_it_stands(tmp_path, val):
    data = load(draw(tmp_path / "pets", {name.replace("val", val): count for name, count in SPLIT.items()}))
    assert (data.name, data.class_names, data.classes) == ("pets", ("cat", "dog"), 2)
    assert data.input_shape == (1, 28, 28)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [14, 4, 6]
    assert data.train.labels.tolist() == [0] * 8 + [1] * 6
    assert np.array_equal(data.train.images[..., 0], CLOTHES[:14])
    assert np.array_equal(data.test.images[..., 0], CLOTHES[18:24])
    assert data.split["origin"] == "file"
    assert "resized_to" not in data.split
    assert "test_set_aside" not in data.split


def test_a_folder_of_classes_has_validation_and_test_set_aside(tmp_path):
    draw(tmp_path, {"a": 40, "b": 20, "c": 2})
    first, again, other = (load(tmp_path, seed=seed) for seed in (0, 0, 1))
    assert np.bincount(first.test.labels).tolist() == [6, 3, 1]
    assert np.bincount(first.validation.labels, minlength=3).tolist() == [3, 2, 0]
    assert (first.split["train"], first.split["validation"], first.split["test"]) == (47, 5, 10)
    assert first.split["test_set_aside"]["fraction"] == 0.15
    assert first.split == again.split
    assert first.split["test_set_aside"]["sha256"] != other.split["test_set_aside"]["sha256"]
    assert first.digest == again.digest == other.digest
    seen = [part.images.reshape(len(part), -1) for part in (first.train, first.validation, first.test)]
    assert np.array_equal(np.unique(np.concatenate(seen), axis=0), np.unique(CLOTHES[:62].reshape(62, -1), axis=0))


def test_a_class_may_be_called_train_or_test(tmp_path):
    assert load(draw(tmp_path, {"train": 9, "test": 9, "car": 9})).class_names == ("car", "test", "train")


def test_what_is_no_image_or_hidden_is_passed_over(tmp_path):
    draw(tmp_path, {"a": 9, "b": 9})
    (tmp_path / "a" / "notes.txt").write_text("hello")
    (tmp_path / "a" / "._000.png").write_bytes(b"what macOS leaves behind")
    (tmp_path / ".cache").mkdir()
    assert sum(load(tmp_path).split[part] for part in ("train", "validation", "test")) == 18


CHANNELS = {"L": 1, "1": 1, "RGB": 3, "RGBA": 3, "P": 3, "LA": 3}


@pytest.mark.parametrize("mode", CHANNELS)
def test_grey_stays_one_channel_and_all_else_is_rgb(tmp_path, mode):
    data = load(draw(tmp_path, {"train/a": 9, "train/b": 9, "test/a": 1}, mode), validation=0.1)
    assert data.input_shape == (CHANNELS[mode], 28, 28)
    if mode in ("L", "RGB", "RGBA", "LA"):
        assert np.array_equal(data.test.images, np.repeat(CLOTHES[18:19, ..., None], CHANNELS[mode], axis=3))


def test_one_image_in_colour_makes_all_of_them_rgb(tmp_path):
    draw(tmp_path, {"a": 9, "b": 8})
    draw(tmp_path, {"b": 1}, "RGB")
    assert load(tmp_path).input_shape == (3, 28, 28)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    for number, image in enumerate(CLOTHES[:18]):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        Image.fromarray(image.astype(np.uint16) * 257).save(tmp_path / "ab"[number % 2] / f"{number:02d}.png")
    data = load(tmp_path)
    found = np.concatenate([part.images for part in (data.train, data.validation, data.test)])
    assert found.sum(dtype=int) == CLOTHES[:18].sum(dtype=int)
    assert data.input_shape == (1, 28, 28)


@pytest.mark.parametrize("size", [(8, 8), (40, 16), (320, 320)], ids=str)
@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "JPEG"])
def test_images_of_one_size_keep_it(tmp_path, size, ending):
    data = load(draw(tmp_path, {"a": 4, "b": 4}, "RGB", size, ending))
    assert data.input_shape == (3, size[1], size[0])
    assert "resized_to" not in data.split


def test_images_of_many_sizes_take_the_median_shorter_side(tmp_path):
    for number, size in enumerate([(20, 40), (30, 30), (50, 24), (90, 60), (24, 24)]):
        draw(tmp_path, {f"a/{number}": 1, f"b/{number}": 1}, size=size)
    data = load(tmp_path)
    assert data.input_shape == (1, 24, 24)  # of 20, 30, 24, 60, 24
    assert data.split["resized_to"] == [24, 24]


@pytest.mark.parametrize("size", [8, 14, 64])
def test_image_size_scales_the_shorter_side_and_cuts_the_middle(tmp_path, size):
    """A wide image: left third black, middle grey, right white. The middle square is all grey."""
    wide = np.repeat(np.array([0, 100, 255], np.uint8), 60)[None].repeat(60, axis=0)
    for turned, name in ((wide, "wide"), (wide.T, "tall")):
        for number in range(5):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(turned).save(tmp_path / name / f"{number}.png")
    data = load(tmp_path, image_size=size)
    assert data.input_shape == (1, size, size)
    assert data.split["resized_to"] == [size, size]
    inner = data.train.images[:, 2:-2, 2:-2]
    assert (inner == 100).all()


def test_shrinking_averages_rather_than_picks(tmp_path):
    """A chessboard of single pixels is grey from afar; without antialiasing it would be black or white."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.fromarray(board).save(tmp_path / name / f"{number}.png")
    assert np.abs(load(tmp_path, image_size=8).train.images.astype(int) - 127).max() < 20


# --- what cannot be read --------------------------------------------------------------------------------------------


def _cut(path):
    path.write_bytes(path.read_bytes()[:120])


def _spoil(path):
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(255 - byte for byte in data[60:90])
    path.write_bytes(data)


def _float(path):
    Image.fromarray(CLOTHES[0].astype(np.float32)).save(path.with_suffix(".tif"))


DAMAGE = {
    "cut off": (_cut, ["cannot read the image", "a/001.png"]),
    "spoiled": (_spoil, ["cannot read the image", "a/001.png"]),
    "empty": (lambda path: path.write_bytes(b""), ["cannot read the image", "a/001.png"]),
    "text": (lambda path: path.write_text("hello"), ["cannot read the image", "a/001.png"]),
    "floats": (_float, ["a/001.tif", "32 bits a pixel"]),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_an_image_that_cannot_be_read_is_named(tmp_path, case):
    damage, fragments = DAMAGE[case]
    damage(draw(tmp_path, {"a": 5, "b": 5}) / "a" / "001.png")
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    for fragment in fragments:
        assert fragment in str(caught.value)


FOLDERS = {
    "empty": ({}, ["holds no class folders", "CLASS/image.png"]),
    "empty train": ({"train/a": 0, "train/b": 0}, ["train' holds no images", ".png"]),
    "one class": ({"a": 5}, ["one class only ('a')"]),
    "an empty class": ({"a": 5, "b": 0}, ["the class folder", "b' holds no images"]),
    "an empty test": ({**SPLIT, "test/cat": 0, "test/dog": 0}, ["test' holds no images"]),
    "no train": ({"val/a": 4, "val/b": 4, "test/a": 4, "test/b": 4}, ["has val and test but no train"]),
    "a class only test has": ({**SPLIT, "test/horse": 2}, ["class folders that train has not: horse"]),
    "one image a class": ({"a": 1, "b": 1}, ["one a class"]),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_that_cannot_be_used_is_refused(tmp_path, case):
    parts, fragments = FOLDERS[case]
    with pytest.raises(InputError) as caught:
        load(draw(tmp_path, parts))
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_images_too_small_are_refused(tmp_path):
    with pytest.raises(InputError, match="at least 8 px a side, got 6x6"):
        load(draw(tmp_path, {"a": 5, "b": 5}, size=(6, 6)))
    with pytest.raises(InputError, match="image_size must be at least 8, got 7"):
        load(tmp_path, image_size=7)
    assert load(tmp_path, image_size=9).input_shape == (1, 9, 9)


def test_what_would_fill_the_memory_is_refused_before_anything_is_decoded(tmp_path, monkeypatch):
    draw(tmp_path, {"a": 5, "b": 5}, "RGB")
    needed = 10 * 28 * 28 * 3
    monkeypatch.setattr(folder_module, "_free_bytes", lambda: 2 * needed)
    assert len(load(tmp_path).class_names) == 2
    monkeypatch.setattr(folder_module, "_free_bytes", lambda: 2 * needed - 2)
    monkeypatch.setattr(folder_module, "decode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(InputError, match=r"more than half of the free memory.* image_size \(at most 27 fits\)"):
        load(tmp_path)
    monkeypatch.undo()
    assert load(tmp_path, image_size=27).input_shape == (3, 27, 27)


def test_free_memory_is_some_and_not_more_than_there_is():
    assert 2**24 < folder_module._free_bytes() < 2**50


def test_a_folder_that_may_not_be_listed_is_said(tmp_path, monkeypatch):
    draw(tmp_path, {"a": 5, "b": 5})

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder_module, "_inside", refuse)
    with pytest.raises(InputError, match="cannot read the folder .*Permission denied"):
        load(tmp_path)
