"""Training functions that tests run in trial processes."""

import json
import os
import signal
import time
from pathlib import Path


def parabola(config):
    """Three epochs, better and better; best at x = 0.3."""
    for epoch in range(1, 4):
        yield {"score": -((config["x"] - 0.3) ** 2) - 1 / epoch, "x_again": config["x"]}


def once(config):
    yield {"score": config["x"]}


def endless(config, checkpoint):
    """Counts epochs up to 20 through its checkpoint folder; notes every epoch it trains."""
    state = checkpoint / "state.json"
    epoch = json.loads(state.read_text())["epoch"] if state.exists() else 0
    while epoch < 20:
        epoch += 1
        with open(config["journal"], "a") as file:
            file.write(f"{config['x']} {epoch}\n")
        time.sleep(0.05)
        state.write_text(json.dumps({"epoch": epoch}))
        yield {"epoch": epoch, "score": config["x"] * epoch}


def levels(config, checkpoint):
    """Nine epochs through a checkpoint, score = x + epoch / 100."""
    state = checkpoint / "epoch"
    epoch = int(state.read_text()) if state.exists() else 0
    for number in range(max(epoch, 1), 10):
        state.write_text(str(number))
        yield {"epoch": number, "score": config["x"] + number / 100, "lr": config.get("lr", 0.0)}


def nine(config):
    for epoch in range(1, 10):
        yield {"score": config["x"] + epoch / 100}


def noted(config):
    """Two epochs; notes each when it is trained."""
    for epoch in (1, 2):
        with open(config["journal"], "a") as file:
            file.write(f"{epoch}\n")
        yield {"score": config["x"]}


def small(config):
    if config["x"] < 2:
        raise ValueError("x is small")
    yield {"score": 0.0}


def broken(config):
    yield {"score": 0.0}
    raise KeyError("no such thing")


def uneven(config):
    """Fails in a different way for each third of x."""
    if config["x"] < 0.25:
        raise RuntimeError("small x")
    if config["x"] < 0.5:
        yield {"score": float("nan")}
    if config["x"] < 0.6:
        raise MemoryError("no room")
    yield {"score": config["x"]}


def dies_once(config, checkpoint):
    """Its process is killed in the first attempt."""
    mark = Path(config["marks"]) / str(config["x"])
    if not mark.exists():
        mark.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    yield {"score": config["x"]}


def sees(config):
    """Which GPUs Ray shows it."""
    yield {"score": 1.0, "visible": os.environ.get("CUDA_VISIBLE_DEVICES", "")}


def from_zero(config):
    """Numbers its epochs from 0, as people do."""
    for epoch in range(3):
        yield {"epoch": epoch, "score": config["x"] + epoch, "finished": True}


def wrong_metric(config):
    yield {"scored": 1.0}


def plain(config):
    return {"score": 1.0}


def dies_midway(config, checkpoint):
    """Four epochs through a checkpoint; its process is killed after the second, once."""
    state, mark = checkpoint / "epoch", Path(config["marks"]) / str(config["x"])
    for epoch in range(int(state.read_text()) + 1 if state.exists() else 1, 5):
        if epoch == 3 and not mark.exists():
            mark.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        state.write_text(str(epoch))
        yield {"epoch": epoch, "score": config["x"] * epoch, "took_s": time.time()}


def steps(config):
    """Up to three epochs by whole numbers x: 1 fails at once, 2 fails after two epochs, 3 reports odd values."""
    x = config["x"]
    for epoch in range(1, 4):
        if x == 1 or (x == 2 and epoch == 3):
            raise RuntimeError(f"no {x}")
        odd = {"top@5": 0.5, "note": "a word", "parts": {"a": 1.0}, "nothing": None, "timesteps_total": 99}
        yield {"score": x - 1 / epoch, "took_s": time.time()} | (odd if x == 3 else {})


def patient(config):
    """Three epochs of a second, and no work."""
    for epoch in range(3):
        time.sleep(1.0)
        yield {"score": config["x"] + epoch}
