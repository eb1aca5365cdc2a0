"""ONNX, where the extra `export` is installed."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from raynas.tables import InputError

FILE = "model.onnx"
LIBRARIES = ("onnx", "onnxscript", "onnxruntime")


def missing() -> str | None:
    """Which libraries are not here, and how to get them; None where all are."""
    names = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    return f"onnx needs {', '.join(names)}: pip install 'raynas[export]'" if names else None


def write_onnx(folder: Path, program: torch.export.ExportedProgram) -> None:
    """One file, its weights inside, checked by onnx's own checker."""
    if (why := missing()) is not None:
        raise InputError(why)
    import onnx

    made: Any = torch.onnx.export(
        program, input_names=["images"], output_names=["logits"], dynamo=True, external_data=False, verbose=False
    )
    made.save(folder / FILE, external_data=False)
    onnx.checker.check_model(str(folder / FILE), full_check=True)


def run_onnx(folder: Path, batches: Sequence[Tensor]) -> Tensor:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # warnings are for those who tune
    session = onnxruntime.InferenceSession(str(folder / FILE), options, providers=["CPUExecutionProvider"])
    found = [session.run(["logits"], {"images": images.numpy()})[0] for images in batches]
    return torch.cat([torch.from_numpy(logits) for logits in found])
