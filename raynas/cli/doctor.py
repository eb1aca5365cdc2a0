"""`raynas doctor`: what is here, and whether one real batch trains on every device."""

import importlib.metadata
import platform
import shutil
from pathlib import Path

from raynas.cli.show import console, table
from raynas.data.load import data_folder
from raynas.run.folders import home as home_of

LIBRARIES = ("ray", "torch", "torchvision", "optuna", "numpy", "pandas", "SQLAlchemy", "medmnist", "safetensors")


def _devices() -> list[str]:
    import torch

    return ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]


def examine(home: Path | None, data_dir: Path | None) -> int:
    """Print the findings; 0 when everything works, 1 otherwise."""
    from raynas.run.one_batch import describe, train_one_batch

    healthy = True
    made = table("what", "finding")
    made.add_row("python", platform.python_version())
    for library in LIBRARIES:
        made.add_row(library, importlib.metadata.version(library))
    place = home_of(home).resolve()
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    made.add_row("experiments", f"{place}, {shutil.disk_usage(there).free / 2**30:.1f} GiB free")
    made.add_row("datasets", str(data_folder(data_dir)))
    for device in _devices():
        try:
            finding = train_one_batch(device)
        except Exception as error:
            healthy, finding = False, f"[red]does not train: {type(error).__name__}: {error}[/red]"
        made.add_row(device, f"{describe(device)}: {finding}")
    if len(_devices()) == 1:
        made.add_row("gpu", _why_no_gpu())
    console.print(made)
    console.print("all well" if healthy else "[red]not well: see above[/red]")
    return 0 if healthy else 1


def _why_no_gpu() -> str:
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        return "none: this is a CPU build of torch (pip install torch brings the CUDA build)"
    if not Path("/proc/driver/nvidia/version").exists():
        return "none: no NVIDIA driver on this machine"
    return f"none: the driver does not work with torch's CUDA {torch.version.cuda}; nvidia-smi says more"
