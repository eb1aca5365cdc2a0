"""`raynas bench oneshot` and `arcs`: what a supernet costs, and whether what is found in it beats cells drawn at random."""

import copy
import tempfile
import time
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field
from rich.console import Console
from torch import Tensor, nn

from raynas.bench.row import Row, print_rows
from raynas.bench.searchers import Seeds, print_table
from raynas.oneshot.micro import SharedCell
from raynas.results.results import Results
from raynas.rng import stream
from raynas.run.cluster import connected
from raynas.run.derive import derive
from raynas.run.launch import search
from raynas.run.score import score
from raynas.space import read
from raynas.space.micro_cell import INPUTS, MicroCell, Pairs, loose_ends
from raynas.train.enas import Enas, Search
from raynas.train.recipe import Recipe

Count = Annotated[int, Field(ge=1)]


def run_everything(cell: SharedCell, domain: MicroCell, older: Tensor, last: Tensor, pairs: Pairs) -> Tensor:
    """What `cell` computes for `pairs`, plainly: every operation of every source runs, and all but the chosen are
    multiplied by nought."""
    states = [adapted(given) for adapted, given in zip(cell.inputs, (older, last), strict=True)]
    for node in range(domain.nodes):
        total: Any = 0.0
        for which in range(2):
            for source in range(node + INPUTS):
                for name in domain.operations:
                    share = float(pairs[node][which] == (name, source))
                    total = total + share * cell.candidates[cell.key(node, which, source, name)](states[source])
        states.append(total)
    loose = torch.relu(torch.cat([states[node] for node in loose_ends(pairs)], dim=1))
    return cell.norm(nn.functional.conv2d(loose, cell.projection(pairs)))


def oneshot(
    *,
    layers: Count = 6,
    channels: Count = 20,
    batch: Count = 160,
    side: Annotated[int, Field(ge=8)] = 32,
    colours: Count = 3,
    steps: Count = 5,
    repeats: Count = 3,
) -> None:
    """Training steps a second of the published supernet of micro cells, against one that runs every operation: the same
    weights, the same children, in turn. On a GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shape, space = (colours, side, side), read("enas_micro")
    options = Enas(space="enas_micro", layers=layers, channels=channels, dropout=0.0)
    made = Search(space, options, Recipe(optimizer="sgd", lr=0.05), shape, 10).to(device)
    made = made.to(memory_format=torch.channels_last)
    inputs = torch.randn(batch, *shape, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,), device=device)
    _, children = made.draw(stream(0, 1).random((repeats * steps, made.controller.decisions)))
    supernet, plain = made.supernet, copy.deepcopy(made.supernet)
    for cell in plain.cells:  # type: ignore[union-attr]
        cell.forward = partial(run_everything, cell, space.domains["normal"])
    with torch.no_grad():
        assert torch.allclose(supernet(inputs[:8], children[0]), plain(inputs[:8], children[0]), atol=1e-3)

    def rate(network: nn.Module, some: list[Any]) -> float:
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        began = time.perf_counter()
        for child in some:
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(network(inputs, child), labels).backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return len(some) / (time.perf_counter() - began)

    ways = {"the child's path": supernet, "every operation": plain}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for network in ways.values():
        rate(network, children[:1])  # warm up
    for turn in range(repeats):
        for name, network in ways.items():
            rates[name].append(rate(network, children[turn * steps : (turn + 1) * steps]))
    rows = [Row(name, values, "steps/s") for name, values in rates.items()]
    size = sum(parameter.numel() for parameter in supernet.parameters())
    title = f"oneshot: a supernet of {size:,} parameters, batch {batch} of {side}x{side}, {device.type}, {torch.get_num_threads()} threads"
    print_rows(title, rows, [("the child's path / every operation", rows[0].over(rows[1]), "")])


def arcs(
    *,
    seeds: Seeds = 3,
    data: str = "fashion_mnist_mini",
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1,
    search_epochs: Count = 12,
    epochs: Count = 5,
    layers: Count = 3,
    channels: Count = 8,
) -> None:
    """Cells that `seeds` supernet searches found and as many drawn at random, each trained alone by one recipe, by the
    accuracy on the test split, which no search has seen."""
    given: dict[str, Any] = {"data": data, "validation": validation, "search": "random", "progress": False}
    within = {"name": "enas", "layers": 1, "channels": 8, "stem_stride": 2}
    learning = {"epochs": search_epochs, "batch_size": 32, "optimizer": "sgd", "lr": 0.2, "lr_final": 5e-4, "clip": 5.0}
    recipe = {
        "epochs": epochs,
        "batch_size": 64,
        "lr": 4e-3,
        "schedule": "one-cycle",
        "weight_decay": 0.05,
        "clip": 5.0,
    }
    shape = {"layers": layers, "channels": channels, "stem_stride": 2}
    alone: dict[str, Any] = {"training": recipe, "hyperparameters": shape, "keep": seeds}
    console = Console(width=120, highlight=False)
    with tempfile.TemporaryDirectory() as home, connected(None):
        drawn = search("enas_micro", trials=seeds, **alone, **given, home=home)
        console.print(f"random cells: {', '.join(_accuracies(drawn))}")
        learning |= {"weight_decay": 2e-4}
        searched = search("enas_micro", oneshot=within, training=learning, trials=seeds, **given, home=home)
        console.print(f"found cells, with the supernet's weights: {', '.join(_accuracies(searched))}")
        finals = [
            derive(searched, trial, name=f"final-{trial}", **alone, home=home, progress=False) for trial in range(seeds)
        ]
        found = {
            "random cells": [score(drawn, trial).accuracy for trial in range(seeds)],
            "searched cells": [score(final).accuracy for final in finals],
        }
    print_table(console, found, f"test accuracy after {epochs} epochs on {data}, layers {layers}, channels {channels}")


def _accuracies(results: Results) -> list[str]:
    return [f"{accuracy:.4f}" for accuracy in results.trials["val_accuracy"]]
