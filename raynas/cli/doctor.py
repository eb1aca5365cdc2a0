"""`raynas doctor`: what is here, and whether one real batch trains on every device."""

import importlib.metadata
import platform
import shutil
from pathlib import Path

from raynas.cli.show import console, table
from raynas.data import load
from raynas.data.load import data_folder
from raynas.run.folders import home as home_of

LIBRARIES = ("ray", "torch", "torchvision", "optuna", "numpy", "pandas", "SQLAlchemy", "medmnist", "safetensors")


def _devices() -> list[str]:
    import torch

    return ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]


def _train_one_batch(name: str) -> str:
    """A genome CNN takes one step on real images; says in which precision, or raises."""
    import torch

    from raynas.data.batches import Batches
    from raynas.models import build
    from raynas.train.fit import has_bfloat16, make_optimizer, train_step
    from raynas.train.recipe import Recipe

    data, device, recipe = load("fashion_mnist_mini"), torch.device(name), Recipe()
    config = {"architecture": "NC 16 3 swish;RC 16 3 swish;RC 32 3 swish;FL swish"}
    network = build(config, data.input_shape, data.classes).to(device).to(memory_format=torch.channels_last)
    images, labels = Batches(data.train, data.mean, data.std, device).at(slice(0, 128))
    loss = float(train_step(network, make_optimizer(network, recipe), images, labels, recipe)[0]) / len(labels)
    if not 0 < loss < 100:
        raise RuntimeError(f"the loss of the first batch is {loss}")
    return "trains" + (" in bfloat16" if has_bfloat16(device) else " in float32") + f", first loss {loss:.3f}"


def _describe(device: str) -> str:
    import torch

    if device == "cpu":
        return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name}, {properties.total_memory / 2**30:.1f} GiB"


def examine(home: Path | None, data_dir: Path | None) -> int:
    """Print the findings; 0 when everything works, 1 otherwise."""
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
            finding = _train_one_batch(device)
        except Exception as error:
            healthy, finding = False, f"[red]does not train: {type(error).__name__}: {error}[/red]"
        made.add_row(device, f"{_describe(device)}: {finding}")
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
