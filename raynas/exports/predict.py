"""Predictions, as a table."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from raynas.exports.experiment import find
from raynas.exports.images import read_images
from raynas.exports.model import Trained
from raynas.exports.record import Record
from raynas.results.results import Results

BATCH = 500
RANKS = ("", "second_", "third_")


def predict(
    model: Trained | Results | str | Path,
    images: Any,
    *,
    home: str | Path | None = None,
    data_dir: str | Path | None = None,
    own_code: bool = False,
) -> pd.DataFrame:
    """One row an image: `image`, `class`, its `name` and `probability`, and the same of the second and third most likely.

    `model` is an exported folder or an experiment (its best network). `images` is what `read_images` takes: image files,
    folders, `.npy`, `.npz`, arrays, or a list of them. For multi-label data every label has a probability of its own, and
    the column `labels` names those of at least 0.5.
    """
    model = model if isinstance(model, Trained) else find(model, home, data_dir, own_code)
    names, pixels = read_images(images, model.record)
    return table(names, probabilities(model, pixels), model.record)


def probabilities(model: Trained, pixels: np.ndarray) -> np.ndarray:
    """(N, classes), of images (N, H, W, C) in the network's own units."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network: nn.Module = model.whole.to(device)
    found = []
    with torch.inference_mode():
        for first in range(0, len(pixels), BATCH):
            batch = torch.from_numpy(pixels[first : first + BATCH]).to(device).float().permute(0, 3, 1, 2)
            logits = network(batch).double()
            found.append(logits.sigmoid() if model.record.task == "multi-label" else logits.softmax(dim=1))
    return torch.cat(found).cpu().numpy()


def table(names: list[str], shares: np.ndarray, record: Record) -> pd.DataFrame:
    """The most likely classes of each image."""
    order = np.argsort(-shares, axis=1, kind="stable")
    columns: dict[str, Any] = {"image": names}
    for rank, prefix in enumerate(RANKS[: record.classes]):
        chosen = order[:, rank]
        columns[f"{prefix}class"] = chosen
        columns[f"{prefix}name"] = [record.class_names[number] for number in chosen]
        columns[f"{prefix}probability"] = shares[np.arange(len(shares)), chosen]
    if record.task == "multi-label":
        columns["labels"] = [", ".join(record.class_names[n] for n in np.flatnonzero(row >= 0.5)) for row in shares]
    return pd.DataFrame(columns)
