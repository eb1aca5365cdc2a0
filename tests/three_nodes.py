"""Run by test_multinode.py in a process of its own: a search on Ray nodes that come and go. Prints what happened as JSON."""

import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path

FOLDER = Path(os.environ["THREE_NODES"])  # the workers' too: they inherit it from their node
FIRST, SECOND = "127.0.0.2", "127.0.0.3"
PATIENCE_S = 240


def wait_for(what, condition):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(0.05)


def flag(name):
    return FOLDER / name


def starts():
    """(x, address) of every start of a training, in their order."""
    path = flag("starts")
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def training(config):
    """Waits on the first node until the second is used; the next ones there, for ever."""
    import ray

    address, late = ray.util.get_node_ip_address(), flag("second used").exists()
    with flag("starts").open("a") as log:  # short lines, appended: whole ones
        log.write(f"{config['x']} {address}\n")
    if address == SECOND:
        flag("second used").touch()
    else:
        wait_for("a trial on the second node", flag("second used").exists)
        if late:  # it has the place of one that has ended
            with flag("held").open("a") as log:
                log.write(f"{config['x']}\n")
            time.sleep(PATIENCE_S)  # this process ends with its node
            raise TimeoutError("the node was to be killed")
    time.sleep(0.1)
    yield {"score": config["x"]}


def kill_whole(raylet):
    """The node goes as a machine does that is switched off: its workers at the same moment as what manages them."""
    import psutil

    process = psutil.Process(raylet)
    for each in [*process.children(recursive=True), process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()


def rows_of(results):
    from raynas.results import Store
    from raynas.results.schema import trials

    store = Store.open(results.path)
    try:
        return [dict(row) for row in store.rows(trials)]
    finally:
        store.close()


def comes_and_goes(trials):
    from ray import tune

    import raynas
    from raynas.bench.machines import add_node, alive, machines

    facts = {}
    with machines(1) as cluster:
        first = next(iter(cluster.worker_nodes))
        given = {"objective": "score", "search": "random", "trials": trials, "gpu": 0.25, "name": "moving"}
        space = {"x": tune.randint(0, 10**9)}
        done = []
        run = lambda: done.append(raynas.search(space, training, home=FOLDER, progress=False, **given))  # noqa: E731
        searching = threading.Thread(target=run)
        searching.start()
        wait_for("a full first node", lambda: len(starts()) >= 4)
        facts["before"] = starts()
        add_node(cluster, 3)  # from the main thread, as Ray wants
        came = time.time()
        wait_for("a trial on the second node", lambda: flag("second used").exists() or not searching.is_alive())
        facts["used_after_s"] = round(time.time() - came, 1)
        wait_for("a trial held on the first node", lambda: flag("held").exists() or not searching.is_alive())
        facts["ended"] = [row["config"]["x"] for row in rows_of(raynas.open("moving", FOLDER)) if row["ended"]]
        killed = time.time()
        kill_whole(first.all_processes["raylet"][0].process.pid)
        wait_for("Ray to miss the first node", lambda: FIRST not in alive())
        facts["missed_after_s"] = round(time.time() - killed, 1)
        searching.join()
        facts["rows"] = rows_of(done[0])
    facts["starts"], facts["held"] = starts(), flag("held").read_text().split()
    return facts


def networks(trials):
    import raynas
    from raynas.bench.machines import machines, received
    from raynas.data import load

    data = load("fashion_mnist_mini")
    parts = (data.train.images, data.train.labels, data.validation.images, data.validation.labels)
    with machines(2):
        before = received()
        given = {"limits": ["flops <= 5e6"], "epochs": 1, "trials": trials, "gpu": 0.25, "progress": False}
        results = raynas.search("genome_cnn", data="fashion_mnist_mini", home=FOLDER, **given)
        return {
            "bytes": sum(part.nbytes for part in parts),
            "before": before,
            "after": received(),
            "rows": rows_of(results),
        }


if __name__ == "__main__":
    facts = {"networks": networks, "comes_and_goes": comes_and_goes}[sys.argv[1]](int(sys.argv[2]))
    Path(sys.argv[3]).write_text(json.dumps(facts, default=str))
