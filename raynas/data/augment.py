"""Augmentation of whole batches: tensor code with an explicit generator, on the batch's own device.

Each takes images (B, C, H, W), normalised, and returns images of the same shape, type and layout. What is moved in from
outside is 0, the mean.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from raynas.tables import look_up

if TYPE_CHECKING:
    from torch import Generator, Tensor

Augment = Callable[["Tensor", "Generator"], "Tensor"]


def flip(images: "Tensor", generator: "Generator") -> "Tensor":
    """Mirror each image left to right with probability 1/2."""
    import torch

    chosen = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
    return torch.where(chosen, images.flip(3), images)


def _shifted(images: "Tensor", reach: int, generator: "Generator") -> "Tensor":
    """Move each image by up to `reach` pixels each way, zeros moving in."""
    import torch
    import torch.nn.functional as F

    count, channels, height, width = images.shape
    padded = F.pad(images, (reach, reach, reach, reach))
    moves = torch.randint(0, 2 * reach + 1, (2, count), generator=generator, device=images.device)
    rows = moves[0][:, None] + torch.arange(height, device=images.device)
    columns = moves[1][:, None] + torch.arange(width, device=images.device)
    rows += torch.arange(count, device=images.device)[:, None] * (height + 2 * reach)
    pixels = rows[:, :, None] * (width + 2 * reach) + columns[:, None, :]
    # one flat index_select: on RGB three times as fast as indexing by (image, row, column)
    moved = padded.permute(0, 2, 3, 1).flatten(0, 2).index_select(0, pixels.flatten())
    moved = moved.view(count, height, width, channels).permute(0, 3, 1, 2)
    return moved if images.is_contiguous(memory_format=torch.channels_last) else moved.contiguous()


def crop(images: "Tensor", generator: "Generator") -> "Tensor":
    """A random crop after padding by an eighth of the side (4 px at 32)."""
    return _shifted(images, max(1, round(min(images.shape[2:]) / 8)), generator)


def shift(images: "Tensor", generator: "Generator") -> "Tensor":
    """Up to 2 px each way."""
    return _shifted(images, 2, generator)


def cutout(images: "Tensor", generator: "Generator") -> "Tensor":
    """A square of half the side, centred anywhere, set to the mean (DeVries & Taylor, 2017)."""
    import torch

    count, _, height, width = images.shape
    half = min(height, width) // 4
    centres = torch.rand(2, count, 1, generator=generator, device=images.device)
    rows = (torch.arange(height, device=images.device) - (centres[0] * height).floor()).add(0.5).abs() < half
    columns = (torch.arange(width, device=images.device) - (centres[1] * width).floor()).add(0.5).abs() < half
    hole = (rows[:, :, None] & columns[:, None, :])[:, None]
    return images * ~hole  # keeps the layout, as masked_fill does not


AUGMENTATIONS: dict[str, Augment] = {"flip": flip, "crop": crop, "shift": shift, "cutout": cutout}
RECIPES: dict[str, tuple[Augment, ...]] = {
    "none": (),
    **{name: (function,) for name, function in AUGMENTATIONS.items()},
    "standard": (crop, flip),
    "strong": (crop, flip, cutout),
}


def augmentation(name: str) -> Augment:
    """The augmentation of a recipe, by name."""
    steps = look_up("augmentation", name, RECIPES)

    def augment(images: "Tensor", generator: "Generator") -> "Tensor":
        for step in steps:
            images = step(images, generator)
        return images

    return augment
