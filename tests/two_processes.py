"""What two processes of a gloo group do, each in its own interpreter: what they found is left in a folder as JSON."""

import json
import multiprocessing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from raynas.data.batches import Batches
from raynas.data.dataset import Split
from raynas.rng import stream
from raynas.train import parallel
from raynas.train.checkpoint import CheckpointError
from raynas.train.fit import Progress, evaluate, fit
from raynas.train.parallel import fit_together, part_of
from raynas.train.recipe import Recipe

PATIENCE_S = 240
IMAGES, CPU = 96, torch.device("cpu")
RECIPE = Recipe(epochs=2, batch_size=16, lr=1e-2, precision="float32")
STILL = Recipe(epochs=2, batch_size=16, lr=1e-12, precision="float32", weight_decay=0.0)


def splits():
    rng = stream(0, 0)
    images = rng.integers(0, 256, (2 * IMAGES, 6, 6, 1), dtype=np.uint8)
    labels = (images[:, :3].mean((1, 2, 3)) > images[:, 3:].mean((1, 2, 3))).astype(np.int64)
    whole = Split(images, labels)
    return whole.take(np.arange(IMAGES)), whole.take(np.arange(IMAGES, 2 * IMAGES))


def batches(split):
    return Batches(split, np.full(1, 120.0), np.full(1, 70.0), CPU)


def network(normed):
    torch.manual_seed(0)
    first = nn.BatchNorm2d(1) if normed else nn.Identity()
    return nn.Sequential(first, nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))


def statistics(model):
    return {name: each.tolist() for name, each in model.named_buffers()}


def alone(recipe, normed):
    """The metrics of one process, an epoch each, and its network's running statistics."""
    train, validation = map(batches, splits())
    model = network(normed)
    metrics = list(fit(model, train, validation, recipe, Progress(), 7))
    return metrics, statistics(model)


def together(recipe, normed):
    """The same of this process of the group, and how its network does on all of the validation."""
    train, validation = splits()
    model, rank, world = network(normed), dist.get_rank(), dist.get_world_size()
    part = batches(part_of(validation, rank, world))
    found = []
    for metrics in fit_together(model, batches(train), part, recipe, Progress(), 7, IMAGES):
        whole = evaluate(model, batches(validation), recipe)
        found.append({"metrics": metrics, "whole": whole, "statistics": statistics(model)})
    return found


class Resumed:
    """A training whose checkpoint each process reads for itself: `epochs` is where each finds it."""

    def __init__(self, epochs):
        train, validation = splits()
        self.training, self.epochs = RECIPE.model_dump(), epochs
        self.data = SimpleNamespace(train=train, validation=validation, mean=np.full(1, 120.0), std=np.full(1, 70.0))

    def start(self, config, checkpoint, seed, device):
        return network(False), Progress(self.epochs[dist.get_rank()], {"val_loss": 0.5})


def first(epochs):
    """The first report of a training that goes on, or why there is none."""
    parallel.fetch = lambda data: data
    try:
        return next(parallel.train_part(Resumed(epochs), {}, Path("runs/one/checkpoints/00000"), 7, CPU))
    except CheckpointError as error:
        return str(error)


def work(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {"same": first([1, 1]), "other": first([1, 0])}
    found |= {"plain": together(RECIPE, False), "normed": together(RECIPE, True), "still": together(STILL, True)}
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def both(folder):
    """What each of the two found."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(rank, folder), daemon=True) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
        process.kill()  # one that waits for the other for ever
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]
