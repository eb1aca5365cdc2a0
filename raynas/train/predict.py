"""What a trained network says of a split."""

import numpy as np
import torch
from torch import nn

from raynas.data.batches import Batches
from raynas.train.fit import EVALUATION_BATCH, autocast
from raynas.train.recipe import Recipe


def probabilities(model: nn.Module, data: Batches, recipe: Recipe) -> np.ndarray:
    """(N, C) float32, in the order of the split: of each class, or of each label of multi-label data by itself."""
    model.eval()
    parts = []
    with torch.inference_mode(), autocast(recipe, data.device, model):
        for images, labels in data.in_order(EVALUATION_BATCH):
            logits = model(images).float()
            parts.append(logits.sigmoid() if labels.dtype.is_floating_point else logits.softmax(dim=1))
    return torch.cat(parts).cpu().numpy()
