"""The trainable that designs: a config becomes a network, is trained, and yields metrics."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from raynas.data.batches import Batches
from raynas.data.store import Sealed, Shared, fetch, unseal
from raynas.models import build
from raynas.objectives import Limit, Refused, broken
from raynas.rng import seed_at
from raynas.train.checkpoint import CheckpointError, has_checkpoint, load_checkpoint, save_checkpoint
from raynas.train.fit import Progress, evaluate, fit, make_optimizer
from raynas.train.latency import latency
from raynas.train.recipe import Recipe, recipe_for
from raynas.train.share import Share


@lru_cache(maxsize=1)
def batches(shared: Shared, device: torch.device) -> tuple[Batches, Batches]:
    """Train and validation on `device`; they stay there for the next trial of this process."""
    data = fetch(shared)
    parts = [Batches(part, shared.mean, shared.std, device) for part in (data.train, data.validation)]
    return parts[0], parts[1]


@dataclass(frozen=True)
class NetworkTraining:
    """Trains the network of a config on shared data. `training` holds the experiment's recipe fields. With `timed` the
    latency is measured first and is among the metrics; a network that breaks `limits` by it is not trained. `test` is
    for verifications alone: it is scored once, after the last epoch."""

    data: Shared
    training: dict[str, Any]
    save_every_s: float = 5.0
    timed: bool = False
    limits: tuple[Limit, ...] = ()
    test: Sealed | None = None
    may_run_ahead: ClassVar[bool] = False

    def __call__(self, config: dict[str, Any], checkpoint: Path, seed: int, share: Share) -> Iterator[dict[str, Any]]:
        """Metrics an epoch, from `checkpoint` on when it holds one; `epoch` numbers them.

        A checkpoint is written when `save_every_s` have passed since the last, and at the end. The epoch that a
        checkpoint holds is reported again first: its report may have been lost with the process.
        """
        recipe = recipe_for(self.training, config)
        device = share.device()
        train, validation = batches(self.data, device)
        network, progress = self.start(config, checkpoint, seed, device)
        measured = latency(network, self.data.dataset.input_shape, device) if self.timed else {}
        if progress.epoch == 0 and (why := broken(self.limits, measured)):
            raise Refused(why)
        if progress.epoch > 0:
            yield {**_report(progress, recipe), **measured}
        saved = time.monotonic()
        for _ in fit(network, train, validation, recipe, progress, seed):
            if progress.epoch == recipe.epochs:
                progress.metrics |= self.score(network, recipe, device)  # before the checkpoint: never a second time
            if progress.epoch == recipe.epochs or time.monotonic() - saved >= self.save_every_s:
                save_checkpoint(checkpoint, network, progress)
                saved = time.monotonic()
            yield {**_report(progress, recipe), **measured}

    def score(self, network: nn.Module, recipe: Recipe, device: torch.device) -> dict[str, float]:
        """Loss and accuracy on the test split, where this training was given one."""
        if self.test is None:
            return {}
        split = Batches(unseal(self.test), self.data.mean, self.data.std, device)
        loss, accuracy = evaluate(network, split, recipe)
        return {"test_loss": loss, "test_accuracy": accuracy}

    def start(
        self, config: dict[str, Any], checkpoint: Path, seed: int, device: torch.device
    ) -> tuple[nn.Module, Progress]:
        """The network and where its training stands: at its checkpoint, or at the beginning."""

        def fresh() -> nn.Module:
            torch.manual_seed(seed_at(seed, 0))
            network = build(config, self.data.dataset.input_shape, self.data.dataset.classes)
            return network.to(device).to(memory_format=torch.channels_last)

        network = fresh()
        if not has_checkpoint(checkpoint):
            return network, Progress()
        try:
            optimizer = make_optimizer(network, recipe_for(self.training, config))
            return network, load_checkpoint(checkpoint, network, optimizer)
        except CheckpointError:  # damaged: training again beats failing
            return fresh(), Progress()


def _report(progress: Progress, recipe: Recipe) -> dict[str, Any]:
    return {"epoch": progress.epoch, "finished": progress.epoch >= recipe.epochs, **progress.metrics}
