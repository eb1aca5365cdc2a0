"""Whether a device trains: one real batch on it."""

import platform

import torch

from raynas.data import load
from raynas.data.batches import Batches
from raynas.models import build
from raynas.train.fit import has_bfloat16, make_optimizer, train_step
from raynas.train.recipe import Recipe


def train_one_batch(name: str) -> str:
    """A genome CNN takes one step on real images; says in which precision, or raises."""
    data, device, recipe = load("fashion_mnist_mini"), torch.device(name), Recipe()
    config = {"architecture": "NC 16 3 swish;RC 16 3 swish;RC 32 3 swish;FL swish"}
    network = build(config, data.input_shape, data.classes).to(device).to(memory_format=torch.channels_last)
    images, labels = Batches(data.train, data.mean, data.std, device).at(slice(0, 128))
    loss = float(train_step(network, make_optimizer(network, recipe), images, labels, recipe)[0]) / len(labels)
    if not 0 < loss < 100:
        raise RuntimeError(f"the loss of the first batch is {loss}")
    return "trains" + (" in bfloat16" if has_bfloat16(device) else " in float32") + f", first loss {loss:.3f}"


def describe(device: str) -> str:
    """What a device is, as a person knows it."""
    if device == "cpu":
        return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name}, {properties.total_memory / 2**30:.1f} GiB"
