"""Downloads: the libraries' own code runs, on files of their formats, from a server on this machine."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import medmnist
import numpy as np
import pytest
from torchvision import datasets

from raynas.data import DATASETS, find, load
from raynas.data import download as download_module
from raynas.data.download import MEDMNIST_2D, SOURCES, TORCHVISION
from raynas.tables import InputError

with np.load(Path(download_module.__file__).with_name("fashion_mnist_mini.npz")) as _file:
    CLOTHES = {key: _file[key] for key in _file.files}
TRAIN, TEST = CLOTHES["train_images"][:300], CLOTHES["test_images"][:100]
TRAIN_LABELS, TEST_LABELS = (CLOTHES["train_labels"].reshape(-1)[:300], CLOTHES["test_labels"].reshape(-1)[:100])


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty data folder, an empty cache, and a folder to serve files from."""
    monkeypatch.setenv("RAYNAS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "served").mkdir()
    return tmp_path


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def site(here, monkeypatch):
    """The address under which the files of `served` can be fetched."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=here / "served")) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def idx(array):
    """IDX, the format of MNIST: two zeros, 8 for bytes, the dimensions, the bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def serve_mnist(kind, folder, site, monkeypatch):
    files = {"train-images-idx3": TRAIN, "train-labels-idx1": TRAIN_LABELS, "t10k-images-idx3": TEST, "t10k-labels-idx1": TEST_LABELS}  # fmt: skip
    resources = []
    for name, array in files.items():
        data = gzip.compress(idx(array))
        (folder / f"{name}-ubyte.gz").write_bytes(data)
        resources.append((f"{name}-ubyte.gz", md5(data)))
    monkeypatch.setattr(kind, "mirrors", [f"{site}/"])
    monkeypatch.setattr(kind, "resources", resources)


def in_colour(images):
    return np.stack([np.pad(images, ((0, 0), (2, 2), (2, 2))) // part for part in (1, 2, 3)], axis=-1)


def serve_cifar(kind, folder, site, monkeypatch):
    key = "fine_labels" if kind is datasets.CIFAR100 else "labels"
    files = {
        "train": {"data": in_colour(TRAIN).transpose(0, 3, 1, 2).reshape(300, -1), key: TRAIN_LABELS.tolist()},
        "test": {"data": in_colour(TEST).transpose(0, 3, 1, 2).reshape(100, -1), key: TEST_LABELS.tolist()},
        "meta": {kind.meta["key"]: [str(label) for label in range(10)]},
    }
    sums = {}
    with tarfile.open(folder / kind.filename, "w:gz") as archive:
        for name, content in files.items():
            data = pickle.dumps(content)
            sums[name] = md5(data)
            entry = tarfile.TarInfo(f"{kind.base_folder}/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    monkeypatch.setattr(kind, "url", f"{site}/{kind.filename}")
    monkeypatch.setattr(kind, "tgz_md5", md5((folder / kind.filename).read_bytes()))
    monkeypatch.setattr(kind, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(kind, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "filename": "meta", "md5": sums["meta"]})


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_files_become_one_npz(here, site, monkeypatch, name):
    colour = name.startswith("cifar")
    serve = serve_cifar if colour else serve_mnist
    serve(getattr(datasets, TORCHVISION[name]), here / "served", site, monkeypatch)
    data = load(name)
    assert [path.name for path in (here / "data").iterdir()] == [f"{name}.npz"]
    assert find(name) == here / "data" / f"{name}.npz"
    expected = in_colour(TEST) if colour else TEST[..., None]
    assert np.array_equal(data.test.images, expected)
    assert np.array_equal(data.test.labels, TEST_LABELS)
    assert data.split["train"] + data.split["validation"] == 300
    with np.load(here / "data" / f"{name}.npz") as file:
        assert file["train_labels"].shape == (300, 1)
    for served in (here / "served").iterdir():
        served.unlink()
    assert load(name).digest == data.digest  # from the file, nothing is served any more


def serve_medmnist(name, folder, site, monkeypatch):
    parts = {"train": slice(0, 200), "val": slice(200, 250), "test": slice(250, 300)}
    arrays = {f"{part}_images": TRAIN[where] for part, where in parts.items()}
    arrays |= {f"{part}_labels": TRAIN_LABELS[where, None] for part, where in parts.items()}
    np.savez(folder / f"{name}.npz", **arrays)  # uncompressed: longer than what raynas keeps
    served = {"url": f"{site}/{name}.npz", "MD5": md5((folder / f"{name}.npz").read_bytes())}
    monkeypatch.setitem(medmnist.INFO, name, {**medmnist.INFO[name], **served})
    return arrays


@pytest.mark.parametrize("name", ["pneumoniamnist", "bloodmnist"])
def test_medmnists_file_is_kept_whole(here, site, monkeypatch, name):
    arrays = serve_medmnist(name, here / "served", site, monkeypatch)
    data = load(name)
    assert [path.name for path in (here / "data").iterdir()] == [f"{name}.npz"]
    assert data.split["origin"] == "file"
    for part, there in (("train", data.train), ("val", data.validation), ("test", data.test)):
        assert np.array_equal(there.images[..., 0], arrays[f"{part}_images"])
        assert np.array_equal(there.labels, arrays[f"{part}_labels"][:, 0])
    assert not (Path.home() / ".medmnist" / f"{name}.npz").exists()


def test_the_names_are_those_medmnist_knows_in_two_dimensions():
    flat = {name for name, info in medmnist.INFO.items() if not info["python_class"].endswith("3D")}
    assert set(MEDMNIST_2D) == flat
    assert len(MEDMNIST_2D) == 12
    assert all(hasattr(datasets, kind) for kind in TORCHVISION.values())
    assert set(DATASETS) == {*MEDMNIST_2D, *TORCHVISION, "fashion_mnist_mini"}


def offline(monkeypatch, name):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    nowhere = "http://127.0.0.1:9"  # where nobody listens
    if name in MEDMNIST_2D:
        monkeypatch.setitem(medmnist.INFO, name, {**medmnist.INFO[name], "url": f"{nowhere}/{name}.npz"})
    elif name.startswith("cifar"):
        monkeypatch.setattr(getattr(datasets, TORCHVISION[name]), "url", f"{nowhere}/cifar.tar.gz")
    else:
        monkeypatch.setattr(getattr(datasets, TORCHVISION[name]), "mirrors", [f"{nowhere}/"])


@pytest.mark.parametrize("name", SOURCES)
def test_without_a_network_it_says_which_file_to_put_where(here, monkeypatch, name):
    offline(monkeypatch, name)
    with pytest.raises(InputError) as caught:
        load(name)
    message = str(caught.value)
    assert message.startswith(f"cannot download '{name}': ")
    assert ": ." not in message  # the reason is not blank
    assert "\n" not in message
    assert f"Put {name}.npz" in message
    assert f"'{here / 'data'}'" in message
    assert list((here / "data").iterdir()) == []


def test_what_breaks_off_while_it_is_written_leaves_nothing(here, site, monkeypatch):
    serve_mnist(datasets.MNIST, here / "served", site, monkeypatch)

    def break_off(path, **arrays):
        Path(path).write_bytes(b"PK half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", break_off)
    with pytest.raises(InputError, match="No space left on device"):
        load("mnist")
    assert list((here / "data").iterdir()) == []


def test_a_spoiled_download_is_refused(here, site, monkeypatch):
    serve_mnist(datasets.MNIST, here / "served", site, monkeypatch)
    (here / "served" / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(TEST[:50])))
    with pytest.raises(InputError, match="cannot download 'mnist'"):
        load("mnist")
    assert list((here / "data").iterdir()) == []


def test_where_the_data_folder_cannot_be_written_the_cache_is(here, site, monkeypatch):
    serve_mnist(datasets.MNIST, here / "served", site, monkeypatch)
    (here / "a file").write_text("")
    assert len(load("mnist", data_dir=here / "a file" / "data").test) == 100
    assert find("mnist") == here / "cache" / "raynas" / "mnist.npz"
