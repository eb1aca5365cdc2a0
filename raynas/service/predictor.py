"""The best network of an experiment, ready to answer: images as they are in the data, probabilities out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raynas.data import load
from raynas.run.folders import open_results
from raynas.run.winner import trained_model
from raynas.tables import InputError


@dataclass(frozen=True)
class Prediction:
    """`classes` by name, and a row of `probabilities` an image; of multi-label data each stands for itself."""

    classes: tuple[str, ...]
    probabilities: list[list[float]]


class Predictor:
    """Takes images (N, H, W, C), or (N, H, W) where there is one channel, in the data's own units (0 to 255 as a rule)."""

    def __init__(self, experiment: str, home: str | Path | None = None, data_dir: str | Path | None = None):
        """Raises InputError where there is no such experiment, no weights, or other data than was searched on."""
        results = open_results(experiment, home)
        network = trained_model(results)
        spec, info = results.experiment["spec"], results.experiment["data"]
        if spec["data"] == "(arrays)":
            raise InputError(f"'{results.name}' was searched on arrays, whose mean and std are not on record")
        data = load(
            spec["data"],
            data_dir=data_dir,
            seed=results.experiment["seed"],
            validation=spec["validation"],
            image_size=spec["image_size"],
            split=spec.get("split", "official"),
        )
        if data.digest != info["digest"]:
            raise InputError(f"the data of '{results.name}' has changed since it was searched")
        self.classes = tuple(data.class_names)
        self.shape = data.input_shape
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device)
        self.mean, self.std = (self._channels(values) for values in (data.mean, data.std))
        self.activation = torch.sigmoid if data.task == "multi-label" else lambda logits: logits.softmax(dim=1)

    def _channels(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device).view(-1, 1, 1)

    def __call__(self, images: Any) -> Prediction:
        """Raises InputError for what are not images of the network's size."""
        channels, height, width = self.shape
        wanted = f"images are (N, {height}, {width}, {channels})" + (
            f" or (N, {height}, {width})" if channels == 1 else ""
        )
        try:
            given = np.asarray(images, dtype=np.float32)
        except (TypeError, ValueError):
            raise InputError(f"{wanted}, nested lists of numbers of one length") from None
        if given.ndim == 3 and channels == 1:
            given = given[..., None]
        if given.ndim != 4 or given.shape[1:] != (height, width, channels) or not len(given):
            raise InputError(f"{wanted}, got {tuple(given.shape)}")
        if not np.isfinite(given).all():
            raise InputError(f"{wanted} of finite numbers")
        batch = torch.from_numpy(given).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            scores = self.activation(self.network((batch - self.mean) / self.std).float())
        return Prediction(self.classes, scores.cpu().tolist())
