"""Batches that are there already: a split on its device, one indexing a batch, no loader and no workers."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from raynas.data.dataset import Split
from raynas.rng import seed_at

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


class Batches:
    """A split as tensors on `device`: images stay bytes (N, H, W, C) until they are in a batch.

    A batch is images (B, C, H, W) float32, normalised with `mean` and `std` (per channel, in the images' own units) and
    laid out channels-last, and labels (B,) int64 or (B, L) float32.
    """

    def __init__(self, split: Split, mean: np.ndarray, std: np.ndarray, device: torch.device):
        # read-only memory of the object store is fine: batches are copies
        self.images = _tensor(split.images).to(device)
        self.labels = _tensor(split.labels).to(device)
        self.mean = torch.as_tensor(mean, dtype=torch.float32, device=device)
        self.scale = 1.0 / torch.as_tensor(std, dtype=torch.float32, device=device)
        self.device = device

    def __len__(self) -> int:
        return len(self.labels)

    def steps(self, size: int) -> int:
        """Batches an epoch; a last batch of one image is left out (normalisation layers cannot take it)."""
        whole, rest = divmod(len(self), size)
        return max(whole + (rest > 1), 1)

    def at(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        """The batch of the images at `index`."""
        images = self.images[index].float().sub_(self.mean).mul_(self.scale)
        return images.permute(0, 3, 1, 2), self.labels[index]

    def order(self, seed: int, epoch: int) -> Tensor:
        """The indices of all images in the order of an epoch."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed_at(seed, epoch, 0)))
        return order.to(self.device, non_blocking=True)

    def epoch(
        self, size: int, seed: int, epoch: int, augment: Augmentation | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once, in an order that is a function of (seed, epoch), as are the augmentations."""
        order = self.order(seed, epoch)
        generator = torch.Generator(self.device).manual_seed(seed_at(seed, epoch, 1))
        for step in range(self.steps(size)):
            images, labels = self.at(order[step * size : (step + 1) * size])
            yield (images if augment is None else augment(images, generator)), labels

    def in_order(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once, in the order of the split."""
        for first in range(0, len(self), size):
            yield self.at(slice(first, first + size))


def _tensor(array: np.ndarray) -> Tensor:
    if array.flags.writeable:
        return torch.from_numpy(np.ascontiguousarray(array))
    import warnings

    with warnings.catch_warnings():  # nothing here writes to it
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array))
