"""The formats of a model: how each is written, and how what was written is run to compare it with the original.

All of them take images (B, C, H, W), float32, in the data's own units, any number at once, and normalise them themselves.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from raynas.exports.model import WEIGHTS, Trained, from_folder
from raynas.exports.onnx import run_onnx, write_onnx
from raynas.exports.record import FILE, write_record
from raynas.models.source import source, write
from raynas.tables import InputError


class ExportError(InputError):
    """What was written does not do what the original does."""


@dataclass(frozen=True)
class Format:
    """`write` puts a model into a folder; `run` gives the logits that what was written has for some batches, together."""

    files: tuple[str, ...]
    about: str
    write: Callable[[Path, Trained], None]
    run: Callable[[Path, Sequence[Tensor]], Tensor]


def write_safetensors(folder: Path, model: Trained) -> None:
    """The weights, and the record that says what network they are of."""
    tensors = {name: tensor.contiguous() for name, tensor in model.network.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(tensors))
    write_record(folder, model.record)


def run_safetensors(folder: Path, batches: Sequence[Tensor]) -> Tensor:
    network = from_folder(folder, own_code=True).whole
    return torch.cat([network(images) for images in batches])


def write_program(folder: Path, model: Trained) -> None:
    torch.export.save(model.program, folder / "model.pt2")


def run_program(folder: Path, batches: Sequence[Tensor]) -> Tensor:
    network = torch.export.load(folder / "model.pt2").module()
    return torch.cat([network(images) for images in batches])


def write_python(folder: Path, model: Trained) -> None:
    """The network written out, and its weights under the names that it has there."""
    record = model.record
    written = source(record.config, record.shape, record.classes)
    if written is None:
        raise InputError(
            f"the network of '{record.config['model']}' is code of yours: it is not written out; --format takes the others"
        )
    title = f"{record.origin[:1].upper()}{record.origin[1:]}; data: {record.data['name']}; written out by raynas."
    text = write(written, title, record.shape, record.class_names, record.mean, record.std, record.units)
    (folder / "network.py").write_text(text, encoding="utf-8")
    torch.save(written.weights(model.network.state_dict()), folder / "weights.pt")


ALONE = """
import sys

sys.modules["raynas"] = None  # the file must do without
sys.path.insert(0, sys.argv[1])
import network
import numpy
import torch

loaded = network.load()
with torch.no_grad():
    logits = [loaded(torch.from_numpy(images)) for images in numpy.load(sys.argv[2]).values()]
numpy.save(sys.argv[3], torch.cat(logits).numpy())
"""


def run_python(folder: Path, batches: Sequence[Tensor]) -> Tensor:
    """In a process of its own that cannot import raynas."""
    with tempfile.TemporaryDirectory() as place:
        given, found = Path(place, "images.npz"), Path(place, "logits.npy")
        np.savez(given, *(images.numpy() for images in batches))
        command = [sys.executable, "-I", "-B", "-c", ALONE, str(folder.resolve()), str(given), str(found)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ExportError(f"network.py does not run: {done.stderr.strip()}")
        return torch.from_numpy(np.load(found, allow_pickle=False))


FORMATS: dict[str, Format] = {
    "safetensors": Format((WEIGHTS, FILE), "weights and description, for raynas", write_safetensors, run_safetensors),
    "torch": Format(("model.pt2",), "a torch.export program", write_program, run_program),
    "onnx": Format(
        ("model.onnx",),
        "for onnxruntime and others",
        lambda folder, model: write_onnx(folder, model.program),
        run_onnx,
    ),
    "python": Format(("network.py", "weights.pt"), "plain Python that needs only torch", write_python, run_python),
}
ALWAYS = "safetensors"
