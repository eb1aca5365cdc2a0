"""`raynas bench nodes`: three Ray nodes on this machine; how busy a search keeps them, and how soon it uses a new one."""

import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from raynas.bench.machines import add_node, busiest, machines, received, utilisation
from raynas.bench.row import Row, print_rows
from raynas.results import Store
from raynas.results.schema import trials as trials_table
from raynas.run.launch import search

Count = Annotated[int, Field(ge=1)]
SLOTS = 4  # of a quarter of a GPU on a node


def sleeping(config: dict[str, Any]) -> Iterator[dict[str, float]]:
    """A trial that takes its time and no processor."""
    time.sleep(config["sleep_s"])
    yield {"score": config["x"]}


def _search(folder: str, name: str, trials: int, **given: Any) -> list[dict[str, Any]]:
    """The rows of the trials of a search at a quarter of a pretended GPU each."""
    results = search(name=name, home=folder, search="random", trials=trials, gpu=0.25, progress=False, **given)
    store = Store.open(results.path)
    rows = [dict(row) for row in store.rows(trials_table) if row["duplicate_of"] is None]
    store.close()
    return rows


def _sleepers(folder: str, name: str, trials: int, seconds: float) -> list[dict[str, Any]]:
    from ray import tune

    space = {"x": tune.uniform(0.0, 1.0), "sleep_s": seconds}
    return _search(folder, name, trials, space=space, trainable=sleeping, objective="score")


def _with_a_new_node(cluster: Any, folder: str, trials: int, seconds: float) -> tuple[list[dict[str, Any]], float]:
    """A search during which a third node comes; and the seconds from its coming to its first trial."""
    rows: list[dict[str, Any]] = []
    running = threading.Thread(target=lambda: rows.extend(_sleepers(folder, "grows", trials, seconds)))
    running.start()
    time.sleep(seconds)
    add_node(cluster, 4)  # from this thread: Ray starts nodes from the main one only
    came = time.time()
    running.join()
    first = min((row["ended"] - row["seconds"] for row in rows if row["node"].endswith("/127.0.0.4")), default=None)
    return rows, float("nan") if first is None else first - came


def nodes(
    *, trials: Count = 40, seconds: Annotated[float, Field(gt=0)] = 5.0, networks: Annotated[int, Field(ge=0)] = 40
) -> None:
    """`trials` trials that sleep on two nodes of four places, twice as many while a third comes, then `networks` real ones."""
    with tempfile.TemporaryDirectory() as folder, machines(2) as cluster:
        steady = _sleepers(folder, "steady", trials, seconds)
        busy = utilisation(steady, 2 * SLOTS)
        grown, waited = _with_a_new_node(cluster, folder, 2 * trials, seconds)
        ratios = [
            (f"busy / available slot seconds, {trials} trials of {seconds:g} s on 2 x {SLOTS} slots", busy, ">= 0.9"),
            ("most trials at once on a pretended GPU, of 4", max(busiest(steady + grown).values()) / SLOTS, "<= 1"),
        ]
        if networks:
            ratios += _transfers(folder, networks)
    print_rows("nodes: three Ray nodes on one machine", [Row("a new node is used after", [waited], "s")], ratios)


def _transfers(folder: str, networks: int) -> list[tuple[str, float, str]]:
    """Real networks: how often the dataset came to each node, by the bytes in its object store."""
    from raynas.data import load

    data = load("fashion_mnist_mini")
    parts = (data.train.images, data.train.labels, data.validation.images, data.validation.labels)
    size, before = sum(part.nbytes for part in parts), received()
    _search(
        folder, "networks", networks, space="genome_cnn", data="fashion_mnist_mini", limits=["flops <= 5e6"], epochs=1
    )
    after = received()
    return [
        (
            f"bytes received at {address} / bytes of the dataset, {networks} trials",
            (after[address][1] - before[address][1]) / size,
            "<= 1.1",
        )
        for address in sorted(after)
        if address in before
    ]
