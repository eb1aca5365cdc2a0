"""One training in several processes: each takes its part of every batch, and the gradients are averaged."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from raynas.data.batches import Augmentation, Batches
from raynas.data.dataset import Split
from raynas.data.store import fetch
from raynas.rng import seed_at
from raynas.tables import InputError
from raynas.train.checkpoint import CheckpointError, save_checkpoint
from raynas.train.fit import Progress, fit
from raynas.train.network import NetworkTraining
from raynas.train.recipe import Recipe, recipe_for

HOST = 64  # bytes of a node's name that are told to the others


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
    """A network whose gradients are averaged over the processes. Batch norm takes the statistics of each process's part; the
    running ones are averaged when the training turns to evaluation, so that all evaluate and keep the same network. An
    evaluation itself needs no one else, and what a training asks of a network (its pace, the weight of an auxiliary head)
    is the network's."""

    def __init__(self, network: nn.Module, device_ids: list[int] | None = None):
        # the networks of a space may hold layers whose output nothing reads; DDP's own broadcast of buffers, one a step,
        # would overwrite what each process has seen with what the first has
        super().__init__(network, device_ids=device_ids, find_unused_parameters=True, broadcast_buffers=False)

    def train(self, mode: bool = True) -> "Together":
        if self.training and not mode:
            average_statistics(self.module)
        super().train(mode)
        return self

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return super().forward(*inputs, **named) if self.training else self.module(*inputs, **named)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


@torch.no_grad()
def average_statistics(network: nn.Module) -> None:
    """Make the running statistics of batch norm the mean of the processes': that of the means is the batch's."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    found = [each for norm in norms for each in (norm.running_mean, norm.running_var) if each is not None]
    if not found:
        return
    values = torch.cat(found)
    dist.all_reduce(values)
    for each, value in zip(found, (values / dist.get_world_size()).split([len(each) for each in found]), strict=True):
        each.copy_(value)


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
    model = Together(network, devices)
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


def check_starts(epoch: int, checkpoint: Path, device: torch.device) -> None:
    """Raises CheckpointError in every process where they have read different checkpoints: each would go through its own
    number of epochs, and wait for ever for the others."""
    own = torch.tensor([epoch, *socket.gethostname().encode()[:HOST].ljust(HOST)], device=device)
    starts = [torch.zeros_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(starts, own)
    told = [(int(start[0]), bytes(start[1:].tolist()).decode(errors="replace").strip()) for start in starts]
    if len({epoch for epoch, _ in told}) > 1:
        each = ", ".join(f"worker {rank} on {host} epoch {epoch}" for rank, (epoch, host) in enumerate(told))
        raise CheckpointError(
            f"the workers see different checkpoints in '{checkpoint}': {each} (0: none, or a damaged one). "
            "All their nodes must share this folder; where they do, one of them saw it late: go on with raynas resume"
        )


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
    check_starts(progress.epoch, checkpoint, device)
    if progress.epoch > 0:
        yield {"epoch": progress.epoch, "finished": progress.epoch >= recipe.epochs, **progress.metrics}
    for _ in fit_together(network, train, validation, recipe, progress, seed, len(data.validation)):
        if progress.epoch == recipe.epochs:
            progress.metrics |= training.score(network, recipe, device)  # all score the same: none waits for another
        if rank == 0:
            save_checkpoint(checkpoint, network, progress)
        yield {"epoch": progress.epoch, "finished": progress.epoch >= recipe.epochs, **progress.metrics}
