"""What `raynas doctor` looks at on a node. It travels there whole, so it needs nothing but Python and Ray on that side."""

import os
import platform
import shutil
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = ("ray", "torch", "raynas")


def versions() -> dict[str, str | None]:
    """Of Python and of what trials are made of; None where it is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    if found["raynas"] is None:  # a checkout on PYTHONPATH is as good
        try:
            import raynas

            found["raynas"] = raynas.__version__
        except ImportError:
            pass
    return found


def nvidia() -> list[str]:
    """Name, memory and driver of each NVIDIA GPU of the machine, as its driver lists them."""
    asked = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def multi_process_service() -> bool:
    """Whether NVIDIA's MPS runs, which lets several processes compute on one GPU at once: its control daemon has a pipe."""
    pipe = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")) / "control"
    names = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            names.append(comm.read_text().strip())
        except OSError:  # it ended meanwhile
            continue
    return pipe.exists() and any(name.startswith("nvidia-cuda-mps") for name in names)


def free_bytes(path: str) -> int:
    """On the disk that a path lies on, or will."""
    place = Path(path)
    return shutil.disk_usage(next(each for each in (place, *place.parents) if each.exists())).free


class Probe:
    """One process on a node, asked several things."""

    def __init__(self, folder: str, home: str):
        self.folder, self.home = Path(folder), home
        self.made: list[Path] = []  # folders that were not there

    def look(self) -> dict[str, Any]:
        """What is there without asking for anything."""
        return {
            "versions": versions(),
            "nvidia": nvidia(),
            "mps": multi_process_service(),
            "free": free_bytes(self.home),
        }

    def clock(self) -> float:
        return time.time()

    def write(self, name: str, token: str) -> str | None:
        """Leave a file in the experiments' folder; what went wrong, or None."""
        self.made = [place for place in (self.folder, *self.folder.parents) if not place.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(token)
        except OSError as error:
            return f"cannot write below '{self.home}': {error.strerror}"
        return None

    def read(self, tokens: dict[str, str]) -> list[str]:
        """The names of those whose file is not here, or is another."""
        return [name for name, token in tokens.items() if self._read(name) != token]

    def _read(self, name: str) -> str | None:
        try:
            return (self.folder / name).read_text()
        except OSError:
            return None

    def clean(self) -> None:
        """Remove what was left, and folders that were made for it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for place in self.made:
            try:
                place.rmdir()
            except OSError:  # gone with the first, or another's by now
                continue


def gpus_that_train() -> list[str]:
    """A line for each GPU that this process was given: what it is, and that it trains. Raises where one does not."""
    import torch

    from raynas.run.one_batch import describe, train_one_batch

    devices = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [f"{describe(device)}: {train_one_batch(device)}" for device in devices]
