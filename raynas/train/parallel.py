"""One training in several processes: each takes its part of every batch, and the gradients are averaged."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from raynas.data.batches import Augmentation, Batches
from raynas.data.dataset import Split
from raynas.data.store import fetch
from raynas.rng import seed_at
from raynas.tables import InputError
from raynas.train.checkpoint import save_checkpoint
from raynas.train.fit import Progress, fit
from raynas.train.network import NetworkTraining
from raynas.train.recipe import Recipe, recipe_for


class Part(Batches):
    """The part of `whole` that process `rank` of `world` trains on: of every batch each takes as many images, every
    `world`-th of them. So the mean of the processes' gradients is the gradient of the batch. A last batch gives up to
    `world` - 1 images away to be divisible, or all of them where one or none were left for each."""

    def __init__(self, whole: Batches, rank: int, world: int, seed: int):
        self.images, self.labels, self.device = whole.images, whole.labels, whole.device
        self.mean, self.scale = whole.mean, whole.scale
        self.rank, self.world, self.seed = rank, world, seed

    def steps(self, size: int) -> int:
        whole, rest = divmod(len(self), size)
        return max(whole + (rest // self.world > 1), 1)

    def epoch(
        self, size: int, seed: int, epoch: int, augment: Augmentation | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of `size` / `world` images in the order of the whole, which is a function of (self.seed, epoch); the
        augmentations are one of the rank too."""
        order = self.order(self.seed, epoch)
        generator = torch.Generator(self.device).manual_seed(seed_at(self.seed, epoch, 1, self.rank))
        for step in range(self.steps(size)):
            batch = order[step * size : (step + 1) * size]
            images, labels = self.at(batch[self.rank : len(batch) // self.world * self.world : self.world])
            yield (images if augment is None else augment(images, generator)), labels


class Together(DistributedDataParallel):
    """A network whose gradients are averaged over the processes. An evaluation needs no one else, and what a training asks
    of a network (its pace, the weight of an auxiliary head) is the network's."""

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return super().forward(*inputs, **named) if self.training else self.module(*inputs, **named)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


def check_parts(recipe: Recipe, images: int, validation: int, world: int) -> None:
    """Raises InputError where the batch or the data cannot be parted."""
    if recipe.batch_size % world:
        raise InputError(
            f"{world} workers share a batch evenly: batch_size {recipe.batch_size} is not divisible by {world}"
        )
    if min(images // 2, validation) < world:
        raise InputError(f"{images} training and {validation} validation images are too few for {world} workers")


def part_of(split: Split, rank: int, world: int) -> Split:
    return split.take(np.arange(rank, len(split), world))


def fit_together(
    network: nn.Module, train: Batches, validation: Batches, recipe: Recipe, progress: Progress, seed: int, images: int
) -> Iterator[dict[str, float]]:
    """`fit` in every process of torch's default group. `train` is whole, `validation` this process's part of `images`. Every
    process yields the same metrics: those of the whole."""
    rank, world = dist.get_rank(), dist.get_world_size()
    devices = [train.device.index] if train.device.type == "cuda" else None
    # the networks of a space may hold layers whose output nothing reads
    model = Together(network, device_ids=devices, find_unused_parameters=True)
    part = Part(train, rank, world, seed)
    draws = seed if rank == 0 else seed_at(seed, 3, rank)  # of dropout: other images, other masks
    for found in fit(model, part, validation, recipe, progress, draws):
        share = len(validation) / images
        weights = {"train_loss": 1 / world, "train_accuracy": 1 / world, "val_loss": share, "val_accuracy": share}
        weights |= {"images_per_s": 1.0, "lr_last": 1 / world}
        values = torch.tensor([found[name] * weights[name] for name in weights], dtype=torch.float64)
        values = values.to(train.device) if devices else values  # NCCL reduces what is on a GPU
        dist.all_reduce(values)
        progress.metrics = {**found, **dict(zip(weights, values.tolist(), strict=True))}
        yield dict(progress.metrics)


def train_part(
    training: NetworkTraining, config: dict[str, Any], checkpoint: Path, seed: int, device: torch.device
) -> Iterator[dict[str, Any]]:
    """NetworkTraining in every process of the group: metrics an epoch, from `checkpoint` on when it holds one. The first
    process writes it, after every epoch."""
    recipe, data = recipe_for(training.training, config), fetch(training.data)
    rank, world = dist.get_rank(), dist.get_world_size()
    check_parts(recipe, len(data.train), len(data.validation), world)
    moments = training.data.mean, training.data.std
    train = Batches(data.train, *moments, device)
    validation = Batches(part_of(data.validation, rank, world), *moments, device)
    network, progress = training.start(config, checkpoint, seed, device)
    if progress.epoch > 0:
        yield {"epoch": progress.epoch, "finished": progress.epoch >= recipe.epochs, **progress.metrics}
    for _ in fit_together(network, train, validation, recipe, progress, seed, len(data.validation)):
        if progress.epoch == recipe.epochs:
            progress.metrics |= training.score(network, recipe, device)  # all score the same: none waits for another
        if rank == 0:
            save_checkpoint(checkpoint, network, progress)
        yield {"epoch": progress.epoch, "finished": progress.epoch >= recipe.epochs, **progress.metrics}
