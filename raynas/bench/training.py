"""`raynas bench training`: images a second of a genome CNN, against a plain PyTorch loop and against the bare step."""

import time
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from raynas.bench.row import Row, print_rows

Count = Annotated[int, Field(ge=1)]
GENOME = "NC 33 3 swish;NC 14 5 tanh;NC 14 3 tanh;NC 28 3 gelu;NC 24 5 relu;RC 63 3 tanh;RC 34 3 gelu;FL gelu"
"""69,925 parameters: the best at alpha = 0.3 of the genome report (its Table VIII, S2)."""


class _AsTorchvision:
    """The dataset as torchvision hands it out: a PIL image through ToTensor and Normalize, one at a time."""

    def __init__(self, images: Any, labels: Any):
        from torchvision import transforms

        self.images, self.labels = images[..., 0], labels
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.286,), (0.353,))])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def _network(genome: str, channels_last: bool) -> Any:
    import torch

    from raynas.models import build

    torch.manual_seed(0)
    network = build({"architecture": genome}, (1, 28, 28), 10)
    return network.to(memory_format=torch.channels_last) if channels_last else network


def _plain_loop(genome: str, images: Any, labels: Any, batch: int) -> float:
    """What a tutorial writes: Dataset, DataLoader, NCHW float32, .item() each step. Images a second."""
    import torch
    from torch.utils.data import DataLoader

    network, seen, running = _network(genome, False), 0, 0.0
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    loader: Any = DataLoader(_AsTorchvision(images, labels), batch, shuffle=True)  # type: ignore[arg-type]
    began = time.perf_counter()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(inputs), targets)
        loss.backward()
        optimizer.step()
        running += loss.item()
        seen += len(targets)
    return seen / (time.perf_counter() - began)


def _fit(genome: str, images: Any, labels: Any, batch: int) -> float:
    """One epoch of raynas's training, validation left out. Images a second."""
    import torch

    from raynas.data.batches import Batches
    from raynas.data.dataset import Split
    from raynas.train.fit import Progress, fit
    from raynas.train.recipe import Recipe

    device = torch.device("cpu")
    train, few = (Batches(Split(images[:n], labels[:n]), *_scale(), device) for n in (len(images), 10))
    metrics = next(fit(_network(genome, True), train, few, Recipe(epochs=1, batch_size=batch), Progress(), seed=0))
    return float(metrics["images_per_s"])


def _bare(genome: str, images: Any, labels: Any, batch: int) -> float:
    """The same step over and over on one prefetched batch: nothing can be faster. Images a second."""
    import torch

    from raynas.data.batches import Batches
    from raynas.data.dataset import Split
    from raynas.train.fit import make_optimizer, train_step
    from raynas.train.recipe import Recipe

    recipe, network = Recipe(batch_size=batch), _network(genome, True)
    optimizer = make_optimizer(network, recipe)
    data = Batches(Split(images[:batch], labels[:batch]), *_scale(), torch.device("cpu"))
    inputs, targets = data.at(slice(0, batch))
    network.train()
    steps = len(images) // batch
    began = time.perf_counter()
    for _ in range(steps):
        train_step(network, optimizer, inputs, targets, recipe)
    return steps * batch / (time.perf_counter() - began)


def _scale() -> tuple[Any, Any]:
    import numpy as np

    return np.array([72.9]), np.array([90.0])


def training(
    *,
    genome: str = GENOME,
    images: Count = 5000,
    batch: Count = 128,
    repeats: Count = 5,
    threads: Count | None = None,
) -> None:
    """Each of the three trains the same network on the same images with the same threads, in turn, `repeats` times."""
    import torch

    from raynas.data import load
    from raynas.models import parameters

    if threads is not None:
        torch.set_num_threads(threads)
    data = load("fashion_mnist") if images > 5000 else load("fashion_mnist_mini", validation=0.01)
    some, labels = data.train.images[:images], data.train.labels[:images]
    ways: dict[str, Callable[..., float]] = {
        "raynas": _fit,
        "bare step on one prefetched batch": _bare,
        "plain loop (DataLoader, NCHW float32, .item())": _plain_loop,
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(genome, some[: 4 * batch], labels[: 4 * batch], batch)  # warm up
    for _ in range(repeats):
        for name, way in ways.items():
            rates[name].append(way(genome, some, labels, batch))
    rows = [Row(name, found, "images/s") for name, found in rates.items()]
    ratios = [
        ("raynas / plain loop", rows[0].over(rows[2]), ">= 2.5"),
        ("raynas / bare step", rows[0].over(rows[1]), ">= 0.95"),
    ]
    size = parameters(_network(genome, False))
    title = f"training: {len(labels):,} Fashion-MNIST images, batch {batch}, {torch.get_num_threads()} threads, {size:,} parameters"
    print_rows(title, rows, ratios)
