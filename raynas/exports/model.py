"""A trained network with all it takes to use it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from raynas.exports.record import Record, read_record
from raynas.models import build
from raynas.tables import InputError, is_import_name

WEIGHTS = "model.safetensors"
LARGEST_BATCH = 2**16


@dataclass(frozen=True)
class Trained:
    """`network` takes normalised images, as it did in training; `whole` takes them as they are."""

    network: nn.Module
    record: Record

    @property
    def whole(self) -> nn.Module:
        return Whole(self.network, self.record.mean, self.record.std).eval()

    @cached_property
    def program(self) -> torch.export.ExportedProgram:
        """`whole` as a graph, for any number of images."""
        batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
        try:
            return torch.export.export(self.whole, (torch.zeros(2, *self.record.shape),), dynamic_shapes=({0: batch},))
        except Exception as error:  # whatever a network of the user's own does that cannot be traced
            first = str(error).strip().splitlines()[0]
            raise InputError(
                f"torch.export cannot trace this network ({first}); leave its formats out: --format safetensors"
            ) from error


class Whole(nn.Module):
    """(B, C, H, W) float32 in the data's own units -> (B, classes): normalisation, then the network."""

    def __init__(self, network: nn.Module, mean: list[float], std: list[float]):
        super().__init__()
        self.network = network
        self.mean = nn.Buffer(torch.tensor(mean).view(-1, 1, 1))
        self.std = nn.Buffer(torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - self.mean) / self.std)


def from_folder(folder: Path, own_code: bool = False) -> Trained:
    """The model in an exported folder: its JSON and its safetensors are read, nothing in it is run. A network that a
    function of someone's own builds is built only with `own_code`, which imports that function."""
    record = read_record(folder)
    kind = record.config.get("model")
    if isinstance(kind, str) and is_import_name(kind) and not own_code:
        raise InputError(
            f"the network in '{folder}' is built by the function '{kind}': own_code (--own-code) lets it be imported"
        )
    network = build(record.config, record.shape, record.classes)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(f"the weights in '{folder / WEIGHTS}' cannot be used: {error}") from error
    return Trained(network.eval(), record)
