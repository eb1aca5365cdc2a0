"""Checkpoints: tensors in safetensors, the rest in JSON; never pickle. Whole or not there at all."""

import hashlib
import json
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from raynas.tables import InputError
from raynas.train.fit import Progress

LEFT_S = 600.0  # a file of that age that no index names was left by a process that was killed
INDEX = "checkpoint.json"  # names the file of tensors; replacing it is what makes a checkpoint the current one
UNREADABLE = (OSError, ValueError, KeyError, TypeError)  # what a missing or garbled index raises


class CheckpointError(InputError):
    """A checkpoint is damaged or of another network."""


def _write(path: Path, content: bytes) -> None:
    """Write and flush to disk under another name, then rename: a reader sees all of it or nothing."""
    fresh = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.new")  # an orphan may write the same at the same time
    with open(fresh, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def save_checkpoint(folder: Path, model: nn.Module, progress: Progress) -> None:
    """Make (model, optimizer, epoch, metrics) the checkpoint in `folder`; the one before stays until then."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    index: dict[str, Any] = {"epoch": progress.epoch, "metrics": progress.metrics}
    if progress.optimizer is not None:
        state = progress.optimizer.state_dict()
        for number, values in state["state"].items():
            for name, value in values.items():
                if value is not None:
                    tensors[f"optimizer.{number}.{name}"] = torch.as_tensor(value).detach().cpu().contiguous()
    content = save(tensors)
    index["sha256"] = hashlib.sha256(content).hexdigest()
    index["tensors"] = f"epoch-{progress.epoch}-{index['sha256'][:8]}.safetensors"
    before = _current(folder)
    _write(folder / index["tensors"], content)
    _write(folder / INDEX, json.dumps(index).encode())
    if before not in (None, index["tensors"]):  # not all others: an attempt that was given up may still be writing here
        (folder / str(before)).unlink(missing_ok=True)
    for left in {*folder.glob("*.safetensors"), *folder.glob("*.new")} - {folder / index["tensors"]}:
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > LEFT_S:
                left.unlink()


def _current(folder: Path) -> str | None:
    """The file of tensors of the checkpoint that is there."""
    try:
        return _index(folder)[1].name
    except UNREADABLE:
        return None


def _index(folder: Path) -> tuple[dict[str, Any], Path]:
    """The index of the checkpoint that is there, and its file of tensors; raises one of UNREADABLE."""
    index = json.loads((folder / INDEX).read_bytes())
    return index, folder / Path(index["tensors"]).name


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        index, tensors = _index(folder)
        content = tensors.read_bytes()
    except UNREADABLE as error:
        raise CheckpointError(f"cannot read the checkpoint in '{folder}': {error}") from error
    if hashlib.sha256(content).hexdigest() != index["sha256"]:
        raise CheckpointError(f"the checkpoint in '{folder}' is damaged: its checksum does not match")
    return index, load(content)


def has_checkpoint(folder: Path) -> bool:
    return (folder / INDEX).is_file()


def load_weights(folder: Path, model: nn.Module) -> Progress:
    """Put the checkpoint's weights into `model`; returns its epoch and metrics."""
    index, tensors = _read(folder)
    weights = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint in '{folder}' is of another network: {error}") from error
    return Progress(index["epoch"], index["metrics"])


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Put the checkpoint into `model` and `optimizer`; returns where the training stands."""
    progress = load_weights(folder, model)
    tensors = _read(folder)[1]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, number, name = key.split(".", 2)
            like = parameters[int(number)]
            # the memory layout of the parameter, as the optimizer made it: other layouts add up in another order
            state.setdefault(int(number), {})[name] = torch.empty_like(like).copy_(tensor) if tensor.dim() else tensor
    # the recipe's own settings stay: they are a function of config and step, and may have changed on purpose
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    progress.optimizer = optimizer
    return progress
