"""Training, as a generator: one dict of metrics an epoch. It has never heard of Ray."""

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raynas.data.augment import augmentation
from raynas.data.batches import Batches
from raynas.objectives import Diverged
from raynas.rng import seed_at
from raynas.train.recipe import Recipe

EVALUATION_BATCH = 500
METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr_last", "images_per_s")


@dataclass
class Progress:
    """Where a training stands. `fit` moves it on; a checkpoint holds it."""

    epoch: int = 0
    metrics: dict[str, float] = field(default_factory=dict)  # of that epoch
    optimizer: torch.optim.Optimizer | None = None


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer. One fused kernel a step: several times faster than a Python loop over parameters."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.optimizer == "sgd":
        nesterov = recipe.momentum > 0
        return torch.optim.SGD(
            parameters, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=nesterov, fused=True
        )
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    return kind(parameters, recipe.lr, weight_decay=recipe.weight_decay, fused=True)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware computes in bfloat16 (elsewhere it is emulated, and slow)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capability = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(capability and capability())


def gains_from_bfloat16(model: nn.Module, device: torch.device) -> bool:
    """Whether `precision: auto` is bfloat16: where the hardware has it, but for depthwise and other grouped convolutions on
    a CPU, whose kernels are slower in it."""
    if device.type == "cpu" and any(getattr(module, "groups", 1) > 1 for module in model.modules()):
        return False
    return has_bfloat16(device)


def autocast(recipe: Recipe, device: torch.device, model: nn.Module) -> Any:
    """The recipe's precision, as a context for forward passes of the model."""
    wanted = recipe.precision == "bfloat16" or (recipe.precision == "auto" and gains_from_bfloat16(model, device))
    return torch.autocast(device.type, dtype=torch.bfloat16) if wanted else nullcontext()


def loss_of(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy; for multi-label data (float labels) mean binary cross-entropy."""
    if labels.dtype.is_floating_point:
        return F.binary_cross_entropy_with_logits(logits, labels * (1 - smoothing) + smoothing / 2)
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """How many images are right; for multi-label data the mean share of right labels counts."""
    if labels.dtype.is_floating_point:
        return ((logits > 0) == (labels > 0.5)).float().mean(dim=1).sum()
    return (logits.argmax(dim=1) == labels).sum()


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, recipe: Recipe
) -> Tensor:
    """One update of the weights; returns (2,): the batch's summed loss and its number of right images."""
    with autocast(recipe, images.device, model):
        made = model(images)
    logits, second = made if isinstance(made, tuple) else (made, None)  # of an auxiliary head
    logits = logits.float()
    loss = total = loss_of(logits, labels, recipe.label_smoothing)
    if second is not None:
        total = loss + model.auxiliary * loss_of(  # type: ignore[operator]
            second.float(), labels, recipe.label_smoothing
        )
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    if recipe.clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    optimizer.step()
    with torch.no_grad():
        return torch.stack((loss.detach() * len(labels), hits(logits, labels).float()))


def evaluate(model: nn.Module, data: Batches, recipe: Recipe) -> tuple[float, float]:
    """Mean loss and accuracy over a split."""
    model.eval()
    total = torch.zeros(2, device=data.device)
    with torch.inference_mode(), autocast(recipe, data.device, model):
        for images, labels in data.in_order(EVALUATION_BATCH):
            logits = model(images).float()
            total += torch.stack((loss_of(logits, labels) * len(labels), hits(logits, labels).float()))
    loss, right = (total / len(data)).tolist()
    return loss, right


def fit(
    model: nn.Module, train: Batches, validation: Batches, recipe: Recipe, start: Progress, seed: int
) -> Iterator[dict[str, float]]:
    """Train from `start` to the recipe's last epoch; yields METRICS after each, `lr_last` of its last step. Raises Diverged when the loss leaves the finite numbers.

    Batch order, augmentation and dropout are functions of (seed, epoch) and the learning rate one of the step: a
    training that goes on from a checkpoint is bit-identical on CPU to one that was never interrupted.
    """
    optimizer = start.optimizer = start.optimizer or make_optimizer(model, recipe)
    augment = None if recipe.augment == "none" else augmentation(recipe.augment)
    an_epoch = train.steps(recipe.batch_size)
    paced = getattr(model, "at", None)  # networks that change with how much of the training is done
    devices = [train.device] if train.device.type == "cuda" else []
    while start.epoch < recipe.epochs:
        epoch, began = start.epoch, time.perf_counter()
        model.train()
        total, images_seen, lr = torch.zeros(2, device=train.device), 0, 0.0
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed_at(seed, epoch, 2))  # dropout draws from the global generator
            for step, (images, labels) in enumerate(train.epoch(recipe.batch_size, seed, epoch, augment)):
                lr = recipe.lr_at(epoch * an_epoch + step, recipe.epochs * an_epoch)
                if paced is not None:
                    paced((epoch * an_epoch + step) / (recipe.epochs * an_epoch))
                for group in optimizer.param_groups:
                    group["lr"] = lr
                # the sums stay on the device: .item() here would stall a GPU each step
                total += train_step(model, optimizer, images, labels, recipe)
                images_seen += len(labels)
        train_loss, train_accuracy = (total / images_seen).tolist()
        seconds = time.perf_counter() - began
        if not math.isfinite(train_loss):
            raise Diverged(f"the training loss is {train_loss} in epoch {epoch + 1}")
        val_loss, val_accuracy = evaluate(model, validation, recipe)
        if not math.isfinite(val_loss):
            raise Diverged(f"the validation loss is {val_loss} in epoch {epoch + 1}")
        start.epoch = epoch + 1
        start.metrics = {
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "lr_last": lr,
            "images_per_s": images_seen / seconds,
        }
        yield dict(start.metrics)
