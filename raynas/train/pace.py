"""How long an epoch takes: of a network from some batches of it, of a training of the user's own from its first reports."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from raynas.data.augment import augmentation
from raynas.data.batches import Batches
from raynas.data.dataset import Dataset
from raynas.models import build
from raynas.train.fit import EVALUATION_BATCH, autocast, make_optimizer, train_step
from raynas.train.own import OwnTraining
from raynas.train.recipe import recipe_for
from raynas.train.share import Share

WARM = 2  # batches that are not timed
TRAINING_S = 1.0  # of timing at least: trials that share a machine are slow only while all of them train
EVALUATION_S = 0.1
AHEAD = 8  # batches after which the device is waited for: the clock is not to run away from it
MOST_S = 10.0  # of the user's own training: no further report is waited for after that


@dataclass(frozen=True)
class Pace:
    """`epoch_s` of training and evaluation, of `epochs` in the whole training (0: not known); `start_s` to the first batches'
    end: the data on the device, the network built, its kernels chosen."""

    epoch_s: float
    start_s: float
    epochs: int


Pacing = Iterator[Pace | None]  # two steps: None once all is warm, then what was timed


def pace(pacing: Pacing) -> Pace:
    """Both steps at once."""
    next(pacing)
    found = next(pacing)
    assert found is not None
    return found


def network_pacing(config: dict[str, Any], dataset: Dataset, training: dict[str, Any], device: torch.device) -> Pacing:
    """Train the config's network for TRAINING_S and evaluate some of the validation images, scaled by how many there are."""
    recipe, began = recipe_for(training, config), time.perf_counter()
    train = Batches(dataset.train, dataset.mean, dataset.std, device)
    validation = Batches(dataset.validation, dataset.mean, dataset.std, device)
    network = build(config, dataset.input_shape, dataset.classes).to(device).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(network, recipe)
    augment = None if recipe.augment == "none" else augmentation(recipe.augment)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        """Epochs without end."""
        for epoch in count():
            yield from train.epoch(recipe.batch_size, 0, epoch, augment)

    def trained(images: Tensor, labels: Tensor) -> None:
        train_step(network, optimizer, images, labels, recipe)

    def evaluated(images: Tensor, labels: Tensor) -> None:
        with torch.inference_mode(), autocast(recipe, device, network):
            network(images)

    network.train()
    stream = batches()
    for _ in range(WARM):
        trained(*next(stream))
    _wait(device)
    started = time.perf_counter() - began
    network.eval()
    evaluated(*validation.at(slice(0, EVALUATION_BATCH)))
    _wait(device)
    yield None
    network.train()
    train_s, images = _timed(stream, trained, device, TRAINING_S)
    network.eval()
    evaluation_s, evaluations = _timed(validation.in_order(EVALUATION_BATCH), evaluated, device, EVALUATION_S)
    epoch_s = train_s * len(train) / images + evaluation_s * len(validation) / evaluations
    yield Pace(epoch_s, started, recipe.epochs)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _timed(
    batches: Iterator[tuple[Tensor, Tensor]], work: Any, device: torch.device, least_s: float
) -> tuple[float, int]:
    """Seconds that `work` took on batches until at least so many had passed or there were no more, and their images."""
    since, images = time.perf_counter(), 0
    for number, (pictures, labels) in enumerate(batches, start=1):
        work(pictures, labels)
        images += len(labels)
        if number % AHEAD == 0:
            _wait(device)
        if time.perf_counter() - since >= least_s:
            break
    _wait(device)
    return time.perf_counter() - since, images


def own_pacing(
    training: OwnTraining, config: dict[str, Any], checkpoint: Path, share: Share, epochs: int | None
) -> Pacing:
    """Run the user's generator to its first report, for which there is no limit; then for TRAINING_S, or, where nobody said
    how many `epochs` it has, to its end or for MOST_S. It is closed then."""
    began = time.perf_counter()
    reports = training(config, checkpoint, 0, share)
    seen = 1 if next(reports, None) is not None else 0
    first_s = time.perf_counter() - began
    yield None
    since, ended = time.perf_counter(), not seen
    enough_s = TRAINING_S if epochs else MOST_S
    later_s = 0.0
    while not ended and first_s + later_s < MOST_S and later_s < enough_s and seen != epochs:
        ended = next(reports, None) is None
        seen += not ended
        later_s = time.perf_counter() - since
    reports.close()  # type: ignore[attr-defined]
    epoch_s = later_s / (seen - 1) if seen > 1 else first_s
    yield Pace(epoch_s, max(0.0, first_s - epoch_s), (min(seen, epochs or seen) or 1) if ended else epochs or 0)
