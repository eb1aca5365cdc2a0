"""Datasets: however they are given, they come out in one form, split by the seed and nothing else."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from raynas.data import Dataset, Split, describe, find, load, names, stratified
from raynas.data.dataset import digest_of
from raynas.rng import stream

PACKAGED = Path(__file__).parents[1] / "raynas" / "data" / "fashion_mnist_mini.npz"


@pytest.fixture(scope="module")
def mini():
    with np.load(PACKAGED) as file:
        return {key: file[key] for key in file.files}


@pytest.fixture
def few(mini):
    """Forty real images of each of three classes."""
    labels = mini["train_labels"].reshape(-1)
    chosen = np.sort(np.concatenate([np.flatnonzero(labels == label)[:40] for label in range(3)]))
    return mini["train_images"][chosen], labels[chosen].astype(np.int64)


def equal(one: Split, other: Split) -> bool:
    return np.array_equal(one.images, other.images) and np.array_equal(one.labels, other.labels)


def test_the_packaged_dataset_is_ten_classes_of_fashion():
    data = load("fashion_mnist_mini")
    assert (data.name, data.task, data.classes, data.input_shape) == (
        "fashion_mnist_mini",
        "classification",
        10,
        (1, 28, 28),
    )
    assert data.train.images.dtype == np.uint8
    assert data.train.labels.dtype == np.int64
    for part, each in ((data.train, 450), (data.validation, 50), (data.test, 100)):
        assert np.bincount(part.labels).tolist() == [each] * 10
    assert data.class_names[9] == "ankle boot"
    assert data.split["sha256"] == "d1662d08523de9cb59fa7e6f25208b8bc1d65c566587338646d792eb1f36adb7"  # golden


class Pairs(torch.utils.data.Dataset):
    def __init__(self, pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]


def _npz(images, labels, folder):
    np.savez(folder / "mine.npz", train_images=images, train_labels=labels.reshape(-1, 1), unrelated=np.arange(3))
    return folder / "mine.npz"


WAYS = {
    "arrays": lambda images, labels, folder: (images, labels),
    "lists": lambda images, labels, folder: [images.tolist(), labels.tolist()],
    "channels last": lambda images, labels, folder: (images[..., None], labels),
    "channels first": lambda images, labels, folder: (images[:, None], labels),
    "column of labels": lambda images, labels, folder: (images, labels[:, None]),
    "float labels": lambda images, labels, folder: (images, labels.astype(float)),
    "tensors": lambda images, labels, folder: (torch.from_numpy(images)[:, None], torch.from_numpy(labels)),
    "mapping": lambda images, labels, folder: {"train_images": images, "train_labels": labels},
    "npz": _npz,
    "npz as text": lambda images, labels, folder: str(_npz(images, labels, folder)),
    "torch dataset": lambda images, labels, folder: Pairs(list(zip(torch.from_numpy(images)[:, None], labels.tolist(), strict=True))),
    "torch dataset of PIL": lambda images, labels, folder: Pairs([(Image.fromarray(image), torch.tensor(label)) for image, label in zip(images, labels, strict=True)]),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_however_it_is_given_the_data_is_the_same(few, tmp_path, way):
    expected, data = load(few, seed=3), load(WAYS[way](*few, tmp_path), seed=3)
    assert equal(data.train, expected.train)
    assert equal(data.validation, expected.validation)
    assert (data.classes, data.task, data.test, data.input_shape) == (3, "classification", None, (1, 28, 28))
    assert data.split["sha256"] == expected.split["sha256"]
    assert data.digest == expected.digest or way == "lists"  # lists of numbers are no bytes


def test_a_tensor_with_a_gradient_is_data_too(few):
    images = torch.from_numpy(few[0]).float()[:, None].requires_grad_()
    assert load((images, few[1])).train.images.dtype == np.float32


SHAPES = {
    "one channel": (28, 28, 1),
    "rgb": (32, 32, 3),
    "large": (320, 320, 3),
    "not square": (16, 40, 3),
    "smallest": (8, 8, 1),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int32], ids=str)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_any_shape_keeps_its_pixels_and_has_the_moments_numpy_says(few, shape, dtype):
    height, width, channels = shape
    small = [np.asarray(Image.fromarray(image).resize((width, height))) for image in few[0][::5]]
    images = np.stack([np.stack([image // (c + 1) for c in range(channels)], axis=-1) for image in small])
    handed = images.astype(dtype) / dtype(255) if np.issubdtype(dtype, np.floating) else images.astype(dtype)
    data = load((handed, few[1][::5]))
    assert data.input_shape == (channels, height, width)
    assert data.train.images.dtype == (np.uint8 if dtype is np.uint8 else np.float32)
    kept = np.setdiff1d(np.arange(len(handed)), data.split["validation_indices"])
    assert np.array_equal(data.train.images, handed[kept].astype(data.train.images.dtype))
    as_numbers = data.train.images.astype(np.float64)
    np.testing.assert_allclose(data.mean, as_numbers.mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(data.std, as_numbers.std(axis=(0, 1, 2)), rtol=1e-6)


def test_moments_see_train_only_and_every_chunk_of_it(few, monkeypatch):
    images, labels = few
    whole = load({"train_images": images, "train_labels": labels, "val_images": images * 0, "val_labels": labels})
    np.testing.assert_allclose([whole.mean[0], whole.std[0]], [images.mean(), images.std()])
    for form in (images, images.astype(np.float32)):
        monkeypatch.setattr("raynas.data.dataset.CHUNK", 7 * 28 * 28)
        pieces = load({"train_images": form, "train_labels": labels, "val_images": form, "val_labels": labels})
        np.testing.assert_allclose([pieces.mean[0], pieces.std[0]], [images.mean(), images.std()], rtol=1e-6)


@pytest.mark.parametrize("value", [0, 7, 255, 0.1, -3.7])
@pytest.mark.filterwarnings("error")
def test_a_channel_that_never_changes_has_a_std_of_one(value):
    images = np.full((20, 9, 9, 3), value, np.uint8 if isinstance(value, int) else np.float32)
    images[::2, ..., 2] += 1
    data = load((images, np.arange(20) % 2))
    assert data.std[:2].tolist() == [1, 1]
    assert 0.3 < data.std[2] < 0.6 or value == 255  # 255 + 1 is 0 for a byte


def test_tiny_units_are_units():
    images = np.random.default_rng(0).normal(0, 1e-8, (20, 9, 9)).astype(np.float32)
    assert load((images, np.arange(20) % 2)).std[0] == pytest.approx(1e-8, rel=0.1)


# --- splits ---------------------------------------------------------------------------------------------------------


@given(
    counts=st.lists(st.integers(1, 60), min_size=1, max_size=6), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 99)
)
@settings(max_examples=150, deadline=None)
def test_stratified_is_within_one_of_every_class_and_loses_none(counts, fraction, seed):
    labels = stream(seed, 9).permutation(np.repeat(np.arange(len(counts)), counts))
    kept, held = stratified(labels, fraction, stream(seed, 0))
    assert np.array_equal(np.sort(np.concatenate([kept, held])), np.arange(len(labels)))
    assert np.array_equal(kept, np.sort(kept))
    assert np.array_equal(held, np.sort(held))
    assert kept.dtype == held.dtype == np.int64
    for label, count in enumerate(counts):
        out = int((labels[held] == label).sum())
        assert abs(out - fraction * count) <= 1
        assert (1 <= out < count) if count > 1 else out == 0


def test_the_split_is_a_function_of_the_seed(few):
    first, again, other = (load(few, seed=seed) for seed in (4, 4, 5))
    assert first.split == again.split
    assert equal(first.train, again.train)
    assert first.split["validation_indices"] != other.split["validation_indices"]
    assert first.split["sha256"] != other.split["sha256"]
    assert first.digest == other.digest


@pytest.mark.parametrize("validation", [0.05, 0.1, 0.5, 0.9])
def test_the_record_says_which_images_were_set_aside(few, validation):
    data = load(few, validation=validation, seed=2)
    record = json.loads(json.dumps(data.split))
    indices = np.array(record["validation_indices"], np.int64)
    assert np.array_equal(data.validation.images[..., 0], few[0][indices])
    assert record["sha256"] == hashlib.sha256(indices.tobytes()).hexdigest()
    assert (record["origin"], record["fraction"], record["seed"], record["test"]) == ("stratified", validation, 2, 0)
    assert (record["train"], record["validation"]) == (120 - len(indices), len(indices))
    assert np.bincount(data.validation.labels).tolist() == [round(40 * validation)] * 3


def test_a_validation_split_of_the_files_own_is_used_as_it_is(few):
    images, labels = few
    parts = {"val": slice(0, 120, 3), "train": slice(1, 120, 3), "test": slice(2, 120, 3)}
    arrays = {f"{part}_images": images[where] for part, where in parts.items()}
    arrays |= {f"{part}_labels": labels[where] for part, where in parts.items()}
    data = load(arrays, seed=8)
    for part, name in ((data.train, "train"), (data.validation, "val"), (data.test, "test")):
        assert equal(part, Split(arrays[f"{name}_images"][..., None], arrays[f"{name}_labels"]))
    assert data.split == {
        "origin": "file", "fraction": None, "seed": None, "sha256": None, "validation_indices": None,
        "train": 40, "validation": 40, "test": 40,
    }  # fmt: skip


def test_empty_validation_and_test_are_as_good_as_none(few):
    images, labels = few
    empty = {
        f"{part}_{kind}": array[:0]
        for part in ("val", "test")
        for kind, array in (("images", images), ("labels", labels))
    }
    data = load({"train_images": images, "train_labels": labels, **empty})
    assert (data.split["origin"], data.test) == ("stratified", None)


def test_imbalanced_classes_are_all_in_train_and_validation(few):
    images, labels = few
    chosen = np.concatenate([np.flatnonzero(labels == label)[:count] for label, count in ((0, 40), (1, 7), (2, 2))])
    data = load((images[chosen], labels[chosen]))
    assert np.bincount(data.validation.labels).tolist() == [4, 1, 1]
    assert np.bincount(data.train.labels).tolist() == [36, 6, 1]


def test_labels_of_several_columns_are_multi_label_data(few):
    labels = np.stack([few[1] == 0, few[1] < 2, few[1] > 5, few[1] == 1], axis=1).astype(np.uint8)
    data = load((few[0], labels))
    assert (data.task, data.classes, data.class_names) == ("multi-label", 4, ("0", "1", "2", "3"))
    assert data.train.labels.dtype == np.float32
    assert data.train.labels.shape == (108, 4)
    assert (len(data.validation), data.split["validation"]) == (12, 12)
    assert np.array_equal(data.validation.labels, labels[data.split["validation_indices"]])
    assert "2 0" in describe(data)["train"]


# --- identity -------------------------------------------------------------------------------------------------------


def test_the_digest_knows_every_array_its_type_its_shape_and_every_bit(few):
    images, labels = few
    flipped, relabelled = images.copy(), labels.copy()
    flipped[-1, -1, -1] ^= 1
    relabelled[0] = 2 - relabelled[0]
    with_test = {"train_images": images, "train_labels": labels, "test_images": images[:5], "test_labels": labels[:5]}
    with_validation = {key.replace("test", "val"): array for key, array in with_test.items()}
    all_of_them = [
        (images, labels), (flipped, labels), (images, relabelled), (images[:-1], labels[:-1]),
        (images.astype(np.float32), labels), (images.reshape(-1, 14, 56), labels), with_test, with_validation,
    ]  # fmt: skip
    digests = [load(data).digest for data in all_of_them]
    assert len(set(digests)) == len(all_of_them)
    assert digests[0] == load((images.copy(order="F"), labels.astype(np.uint8))).digest


def test_the_digest_tells_equal_bytes_of_two_types_apart():
    zeros = [
        {"a": np.zeros(4, np.int32)},
        {"a": np.zeros(4, np.float32)},
        {"a": np.zeros((2, 2), np.int32)},
        {"b": np.zeros(4, np.int32)},
    ]
    assert len({digest_of(arrays) for arrays in zeros}) == 4
    strided = np.arange(12)[::2]
    assert digest_of({"a": strided}) == digest_of({"a": strided.copy()})


def test_describe_counts_every_class_of_every_split(few):
    data = load(
        {"train_images": few[0], "train_labels": few[1], "test_images": few[0][:50], "test_labels": few[1][:50]}
    )
    shown = describe(data)
    assert (shown["shape"], shown["classes"], shown["sha256"]) == ("1x28x28", 3, data.digest)
    assert shown["train"] == "108 images (0 36, 1 36, 2 36)"
    assert shown["validation"] == "12 images (0 4, 1 4, 2 4)"
    assert shown["test"].startswith("50 images (0 ")


def test_every_array_stays_as_it_was_given(few):
    images, labels = few[0].copy(), few[1].copy()
    load((images, labels))
    assert np.array_equal(images, few[0])
    assert np.array_equal(labels, few[1])


# --- names ----------------------------------------------------------------------------------------------------------


def test_a_name_is_found_in_the_argument_then_the_environment_then_the_cache(few, tmp_path, monkeypatch):
    folders = {place: tmp_path / place for place in ("argument", "environment", "cache/raynas")}
    for count, folder in enumerate(folders.values(), start=30):
        folder.mkdir(parents=True)
        np.savez(folder / "mine.npz", train_images=few[0][:count], train_labels=few[1][:count])
    monkeypatch.setenv("RAYNAS_DATA", str(folders["environment"]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for place in folders.values():
        argument = folders["argument"] if place == folders["argument"] else None
        assert find("mine", argument) == place / "mine.npz"
        data = load("mine", data_dir=argument)
        assert (data.name, data.split["train"] + data.split["validation"]) == (
            "mine",
            30 + list(folders.values()).index(place),
        )
        (place / "mine.npz").unlink()
    assert find("mine") is None


def test_the_packaged_name_needs_no_folder_and_is_not_shadowed_by_one(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYNAS_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fashion_mnist_mini").mkdir()
    assert find("fashion_mnist_mini") == PACKAGED
    assert len(load("fashion_mnist_mini").test) == 1000
    assert not (tmp_path / "no cache").exists()


def test_home_is_spelled_with_a_tilde(few, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    _npz(*few, tmp_path)
    assert load("~/mine.npz").name == "mine"


def test_names_are_sorted_and_the_table_is_complete():
    assert names() == sorted(names())
    assert {"fashion_mnist", "fashion_mnist_mini", "mnist", "cifar10", "cifar100", "pathmnist"} <= set(names())
    assert len(names()) == 17


def test_the_notice_lies_beside_the_packaged_file():
    notice = PACKAGED.with_suffix(".LICENSE").read_text()
    for needed in ("2017 Zalando SE, https://tech.zalando.com", "MIT License", "original order", "WITHOUT WARRANTY"):
        assert needed in notice


# --- the full sets --------------------------------------------------------------------------------------------------


def test_fashion_mnist_has_the_published_moments(shared_data, mini):
    data = load("fashion_mnist", data_dir=shared_data, validation=1 / 60)
    everything = np.concatenate([data.train.images, data.validation.images]).reshape(-1)
    levels = np.bincount(everything[: 60000 * 784], minlength=256) / everything.size
    mean = levels @ np.arange(256)
    assert mean / 255 == pytest.approx(0.28604, abs=1e-5)
    assert np.sqrt(levels @ (np.arange(256) - mean) ** 2) / 255 == pytest.approx(0.35302, abs=1e-5)
    assert np.bincount(data.validation.labels).tolist() == [100] * 10
    assert data.mean[0] == pytest.approx(mean, rel=0.01)


def test_pneumonia_brings_its_own_validation(shared_data):
    if not (shared_data / "pneumoniamnist.npz").is_file():
        pytest.skip(f"no pneumoniamnist.npz in '{shared_data}'")
    data: Dataset = load("pneumoniamnist", data_dir=shared_data)
    counts = [np.bincount(part.labels).tolist() for part in (data.train, data.validation, data.test)]
    assert counts == [[1214, 3494], [135, 389], [234, 390]]
    assert (data.split["origin"], data.classes) == ("file", 2)


@pytest.mark.parametrize("with_validation", [False, True])
def test_merged_splits_are_one_pool_without_a_test_split(mini, tmp_path, with_validation):
    """Every image is in train or validation once; validation is the stratified share of all."""
    arrays = dict(mini)
    if with_validation:
        arrays |= {f"val_{kind}": arrays[f"train_{kind}"][-500:] for kind in ("images", "labels")}
        arrays |= {f"train_{kind}": arrays[f"train_{kind}"][:-500] for kind in ("images", "labels")}
    np.savez(tmp_path / "some.npz", **arrays)
    data = load(tmp_path / "some.npz", split="merged", validation=0.3, seed=1)
    assert data.test is None
    assert (len(data.train), len(data.validation)) == (4200, 1800)
    assert data.split["split"] == "merged"
    both = np.concatenate([data.train.images, data.validation.images]).reshape(6000, -1)
    given = np.concatenate([mini["train_images"], mini["test_images"]]).reshape(6000, -1)
    assert np.array_equal(np.sort(both.astype(np.int64).sum(axis=1)), np.sort(given.astype(np.int64).sum(axis=1)))
    official = load(tmp_path / "some.npz", seed=1)
    assert official.digest == data.digest
    assert len(official.test) == 1000


def test_a_misspelled_split_is_refused():
    from raynas.tables import InputError

    with pytest.raises(InputError, match="unknown split 'merge'. Did you mean 'merged'"):
        load("fashion_mnist_mini", split="merge")
