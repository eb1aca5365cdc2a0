"""How much memory a training takes at its peak: measured on a GPU, estimated elsewhere."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from raynas.data.augment import augmentation
from raynas.data.batches import Batches
from raynas.data.dataset import Dataset
from raynas.models import build, cost
from raynas.train.fit import EVALUATION_BATCH, autocast, loss_of, make_optimizer, train_step
from raynas.train.recipe import Recipe, recipe_for

STEPS = 2  # the first makes the optimizer's state, the second has it all at once
FLOAT32 = 4  # bytes
STATES = {"sgd": 1, "adam": 2, "adamw": 2}  # tensors of the size of the weights that the optimizer keeps


@dataclass(frozen=True)
class Peak:
    """`needed` bytes of one process at its peak, its data with it, without the CUDA context; `free` and `total` bytes of
    the GPU, without what other programs hold; 0 where it is an estimate, made without one."""

    needed: int
    free: int = 0
    total: int = 0
    device: str = "cpu"

    @property
    def estimated(self) -> bool:
        return not self.total


def saved_bytes(network: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe) -> int:
    """Bytes that a forward pass keeps for the backward pass, weights left out; each storage counts once. Works on the meta
    device too, where nothing is allocated."""
    own = {id(tensor.untyped_storage()) for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, Any] = {}  # the storages themselves, lest an id is given twice

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(storage) not in own:
            kept[id(storage)] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        made = network(images)
        logits = made if isinstance(made, tuple) else (made,)
        losses = [loss_of(item.float(), labels, recipe.label_smoothing) for item in logits if item is not None]
    assert losses
    return sum(storage.nbytes() for storage in kept.values())


def weight_bytes(network: nn.Module, recipe: Recipe) -> int:
    """Bytes of weights and buffers, of the weights' gradients and of the optimizer's state."""
    states = 0 if recipe.optimizer == "sgd" and not recipe.momentum else STATES[recipe.optimizer]
    trained = sum(tensor.nbytes for tensor in network.parameters() if tensor.requires_grad)
    return sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers())) + (1 + states) * trained


def data_bytes(dataset: Dataset) -> int:
    """Bytes of train and validation, which lie on the device."""
    return sum(array.nbytes for part in (dataset.train, dataset.validation) for array in (part.images, part.labels))


def estimated_memory(config: dict[str, Any], dataset: Dataset, training: dict[str, Any]) -> int:
    """Bytes that a training of the config's network on this data takes, in float32: weights, gradients, the optimizer's
    state, and what the backward pass needs of a batch or what evaluation needs of one, whichever is more. An estimate: what
    a kernel needs for itself is not in it."""
    recipe = recipe_for(training, config)
    shape, labels = dataset.input_shape, dataset.train.labels
    with torch.device("meta"):
        network = build(config, shape, dataset.classes).train()
        images = torch.empty(recipe.batch_size, *shape)
        kind = torch.float32 if labels.ndim == 2 else torch.int64
        saved = saved_bytes(network, images, torch.empty(recipe.batch_size, *labels.shape[1:], dtype=kind), recipe)
    weights = FLOAT32 * sum(tensor.numel() for tensor in (*network.parameters(), *network.buffers()))
    layer = cost(config, shape, dataset.classes)["memory_mb"] * 1e6 - weights  # the largest, in and out, one image
    return weight_bytes(network, recipe) + max(saved, round(EVALUATION_BATCH * layer))


def look(device: torch.device) -> Peak:
    """What is free on a GPU, nothing trained; what this process holds is free for trials. Nothing of a CPU."""
    if device.type != "cuda":
        return Peak(0)
    free, total = torch.cuda.mem_get_info(device)
    free = min(total, free + torch.cuda.memory_reserved(device))
    return Peak(0, free, total, torch.cuda.get_device_name(device))


def peak_memory(config: dict[str, Any], dataset: Dataset, training: dict[str, Any], device: torch.device) -> Peak:
    """Bytes of a training of the config's network: on a GPU measured in real steps with the recipe's batch and one batch of
    the evaluation, on a CPU `estimated_memory`."""
    if device.type != "cuda":
        return Peak(estimated_memory(config, dataset, training) + data_bytes(dataset))
    recipe = recipe_for(training, config)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    train = Batches(dataset.train, dataset.mean, dataset.std, device)
    validation = Batches(dataset.validation, dataset.mean, dataset.std, device)
    network = build(config, dataset.input_shape, dataset.classes).to(device).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(network, recipe)
    augment = None if recipe.augment == "none" else augmentation(recipe.augment)
    for _ in range(STEPS):
        images, labels = next(iter(train.epoch(recipe.batch_size, 0, 0, augment)))
        train_step(network.train(), optimizer, images, labels, recipe)
    with torch.inference_mode(), autocast(recipe, device, network):
        network.eval()(validation.at(slice(0, EVALUATION_BATCH))[0])
    torch.cuda.synchronize(device)
    return replace(look(device), needed=torch.cuda.max_memory_allocated(device))
