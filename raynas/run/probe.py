"""What `raynas doctor` looks at on a node. It travels there whole, so it needs nothing but Python and Ray on that side."""

import errno
import os
import platform
import shutil
import socket
import stat
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


def multi_process_service() -> bool | None:
    """Whether NVIDIA's MPS runs, which lets several processes compute on one GPU at once: somebody holds its daemon's control
    pipe. None in a container without that pipe: the daemon of the machine cannot be seen from there."""
    pipe = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")) / "control"
    if pipe.exists():
        return _is_held(pipe)
    return None if in_container() else False


def _is_held(pipe: Path) -> bool:
    """Whether a process, of this container or not, has the other end of a socket or FIFO; nothing is sent to it."""
    mode = pipe.stat().st_mode
    try:
        if stat.S_ISSOCK(mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
                ours.connect(str(pipe))
        elif stat.S_ISFIFO(mode):
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:  # any other says that somebody is there, as EPROTOTYPE of a socket that takes connections
        return error.errno not in (errno.ECONNREFUSED, errno.ENXIO)
    return True


def in_container() -> bool:
    """Whether this process runs in Docker, Podman or a pod."""
    return "KUBERNETES_SERVICE_HOST" in os.environ or any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv")))


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
