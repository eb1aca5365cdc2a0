"""How long an epoch of a network takes, from a few batches of it."""

import time
from dataclasses import dataclass
from typing import Any

import torch

from raynas.data.augment import augmentation
from raynas.data.batches import Batches
from raynas.data.dataset import Dataset
from raynas.models import build
from raynas.train.fit import EVALUATION_BATCH, autocast, make_optimizer, train_step
from raynas.train.recipe import recipe_for

BATCHES = 8  # timed, of training; the ones before warm up
WARM = 2
MOST_S = 10.0  # of timing: fewer batches where they are long


@dataclass(frozen=True)
class Pace:
    """`epoch_s` of training and evaluation, of `epochs` in the whole training; `start_s` to the first batches' end: the data
    on the device, the network built, its kernels chosen."""

    epoch_s: float
    start_s: float
    epochs: int


def pace(config: dict[str, Any], dataset: Dataset, training: dict[str, Any], device: torch.device) -> Pace:
    """Train some batches of the config's network and evaluate one, scaled by how many there are."""
    recipe, began = recipe_for(training, config), time.perf_counter()
    train = Batches(dataset.train, dataset.mean, dataset.std, device)
    validation = Batches(dataset.validation, dataset.mean, dataset.std, device)
    network = build(config, dataset.input_shape, dataset.classes).to(device).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(network.train(), recipe)
    augment = None if recipe.augment == "none" else augmentation(recipe.augment)
    timed, images_timed, since = 0.0, 0, began
    for number, (images, labels) in enumerate(train.epoch(recipe.batch_size, 0, 0, augment)):
        train_step(network, optimizer, images, labels, recipe).tolist()  # waits for the device
        now = time.perf_counter()
        if number + 1 == WARM:
            started = now - began
        elif number >= WARM:
            timed, images_timed = timed + now - since, images_timed + len(labels)
        since = now
        if number + 1 == WARM + BATCHES or timed > MOST_S:
            break
    if not images_timed:  # an epoch of hardly any batches: the warm-up is the epoch
        timed = started = time.perf_counter() - began
        images_timed = len(train)
    looked = min(EVALUATION_BATCH, len(validation))
    since = time.perf_counter()
    with torch.inference_mode(), autocast(recipe, device, network):
        network.eval()(validation.at(slice(0, looked))[0]).sum().item()
    evaluation_s = (time.perf_counter() - since) * len(validation) / looked
    return Pace(timed * len(train) / images_timed + evaluation_s, started, recipe.epochs)
