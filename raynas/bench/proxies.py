"""`raynas bench proxies`: zero-cost proxies computed on real untrained networks, beside the published values."""

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from rich.console import Console
from rich.table import Table as Shown

from raynas.bench.quality import proxies as published
from raynas.data.tabular import IMAGES, find_table, load_table
from raynas.models.proxies import PROXIES, proxy
from raynas.rng import stream
from raynas.searchers.warm_up import spearman

PART = "cifar10"
BATCH = 64


def proxy_ranks(
    *,
    table: str = "nasbench201.npz",
    images: str = "cifar10_sub10k.npz",
    cells: Annotated[int, Field(ge=4)] = 100,
    seed: Annotated[int, Field(ge=0)] = 0,
) -> None:
    """Spearman's rank correlation over random cells of NAS-Bench-201: of ours with the published values of each proxy
    (`nasbench201_zero_cost.npz` beside `table`), and with test accuracy after 200 epochs. Each proxy sees 64 training
    images of `images`."""
    path = find_table(table)
    recorded = load_table(f"tabular:{path}#{PART}")
    rows = stream(seed, 0).choice(len(recorded), size=cells, replace=False)
    with np.load(path, allow_pickle=False) as file:
        archs = [file["arch_str"][row].decode() for row in rows]
    accuracy = recorded.final["test_accuracy"][rows].tolist()
    known = published(str(path))
    batch, classes = _batch(str(find_table(images)), seed), IMAGES[PART][1]
    made = Shown("proxy", "ours with published", "ours with accuracy", "published with accuracy", box=None)
    for name in PROXIES:
        ours = [proxy(name, {"model": "nas_bench_201", "architecture": arch}, batch, classes, seed) for arch in archs]
        theirs = known[name][rows].tolist() if name in known else None
        made.add_row(
            name,
            "" if theirs is None else f"{spearman(ours, theirs):.3f}",
            f"{spearman(ours, accuracy):.3f}",
            "" if theirs is None else f"{spearman(theirs, accuracy):.3f}",
        )
    console = Console(width=120, highlight=False)
    console.print(f"[bold]rank correlations over {cells} cells of NAS-Bench-201, CIFAR-10[/bold]")
    console.print(made)


def _batch(path: str, seed: int) -> torch.Tensor:
    with np.load(path, allow_pickle=False) as file:
        pixels = file["train_images"].astype(np.float32)
    chosen = pixels[stream(seed, 1).choice(len(pixels), size=BATCH, replace=False)]
    normal = (chosen - pixels.mean(axis=(0, 1, 2))) / pixels.std(axis=(0, 1, 2))
    return torch.as_tensor(normal).permute(0, 3, 1, 2).contiguous()
