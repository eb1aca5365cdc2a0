"""raynas: architecture and hyperparameter search on Ray Tune.

Importing it takes neither torch nor ray; they are imported when first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raynas.exports.folder import export
    from raynas.exports.predict import predict
    from raynas.results.results import Results
    from raynas.run.derive import derive
    from raynas.run.experiment import Experiment
    from raynas.run.folders import open_results as open
    from raynas.run.launch import resume, search
    from raynas.run.reproduce import reproduce
    from raynas.run.verify import verified_model, verify
    from raynas.run.winner import trained_model as model
    from raynas.space import Cell, Genome, Space

__version__ = "0.1.0"
__all__ = [
    "Cell",
    "Experiment",
    "Genome",
    "Results",
    "Space",
    "derive",
    "export",
    "model",
    "open",
    "predict",
    "reproduce",
    "resume",
    "search",
    "verified_model",
    "verify",
]

_HOMES = {
    "Cell": "raynas.space:Cell",
    "Experiment": "raynas.run.experiment:Experiment",
    "Genome": "raynas.space:Genome",
    "Results": "raynas.results.results:Results",
    "Space": "raynas.space:Space",
    "derive": "raynas.run.derive:derive",
    "export": "raynas.exports.folder:export",
    "model": "raynas.run.winner:trained_model",
    "open": "raynas.run.folders:open_results",
    "predict": "raynas.exports.predict:predict",
    "reproduce": "raynas.run.reproduce:reproduce",
    "resume": "raynas.run.launch:resume",
    "search": "raynas.run.launch:search",
    "verified_model": "raynas.run.verify:verified_model",
    "verify": "raynas.run.verify:verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'raynas' has no attribute '{name}'")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
