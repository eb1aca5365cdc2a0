"""A trained network with all it takes to use it: from an experiment, or from a folder that was written of one."""

from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from raynas.data import Dataset, load
from raynas.exports.record import FILE, Record, Scored, Search, read_record
from raynas.models import build
from raynas.results.results import COUNTED, Results
from raynas.run.folders import open_results
from raynas.run.winner import trained_model, trial_number
from raynas.tables import InputError, is_import_name
from raynas.train.checkpoint import has_checkpoint
from raynas.train.fit import METRICS
from raynas.train.recipe import recipe_for

WEIGHTS = "model.safetensors"
LARGEST_BATCH = 2**16


@dataclass(frozen=True)
class Trained:
    """`network` takes normalised images, as it did in training; `whole` takes them as they are."""

    network: nn.Module
    record: Record

    @property
    def whole(self) -> nn.Module:
        return Whole(self.network, self.record.mean, self.record.std).eval()

    @cached_property
    def program(self) -> torch.export.ExportedProgram:
        """`whole` as a graph, for any number of images."""
        batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
        try:
            return torch.export.export(self.whole, (torch.zeros(2, *self.record.shape),), dynamic_shapes=({0: batch},))
        except Exception as error:  # whatever a network of the user's own does that cannot be traced
            first = str(error).strip().splitlines()[0]
            raise InputError(
                f"torch.export cannot trace this network ({first}); leave its formats out: --format safetensors"
            ) from error


class Whole(nn.Module):
    """(B, C, H, W) float32 in the data's own units -> (B, classes): normalisation, then the network."""

    def __init__(self, network: nn.Module, mean: list[float], std: list[float]):
        super().__init__()
        self.network = network
        self.mean = nn.Buffer(torch.tensor(mean).view(-1, 1, 1))
        self.std = nn.Buffer(torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - self.mean) / self.std)


def from_folder(folder: Path, own_code: bool = False) -> Trained:
    """The model in an exported folder: its JSON and its safetensors are read, nothing in it is run. A network that a
    function of someone's own builds is built only with `own_code`, which imports that function."""
    record = read_record(folder)
    kind = record.config.get("model")
    if isinstance(kind, str) and is_import_name(kind) and not own_code:
        raise InputError(
            f"the network in '{folder}' is built by the function '{kind}': own_code (--own-code) lets it be imported"
        )
    network = build(record.config, record.shape, record.classes)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(f"the weights in '{folder / WEIGHTS}' cannot be used: {error}") from error
    return Trained(network.eval(), record)


def find(model: Results | str | Path, home: str | Path | None, data_dir: str | Path | None, own_code: bool) -> Trained:
    """The model of an exported folder, or the best of an experiment by name."""
    if isinstance(model, Results):
        return from_experiment(model, None, dataset_of(model, data_dir))
    path = Path(model)
    folder = path.parent if path.name in (FILE, WEIGHTS) else path
    if (folder / FILE).is_file():
        return from_folder(folder, own_code)
    try:
        results = open_results(model, home)
    except InputError as error:
        there = f"the folder '{model}' has no {FILE}" if path.is_dir() else f"there is no exported folder '{model}'"
        raise InputError(f"{there} (raynas export NAME writes one), and {error}") from error
    return from_experiment(results, None, dataset_of(results, data_dir))


def dataset_of(results: Results, data_dir: str | Path | None = None, arrays: Any = None) -> Dataset:
    """The data of an experiment, split as it was; `arrays` are handed over where it was searched on arrays."""
    spec, row = results.experiment["spec"], results.experiment["data"]
    if spec["data"] is None:
        raise InputError(f"'{results.name}' trained by a function of yours: its networks are yours too")
    if spec["data"] == "(arrays)" and arrays is None:
        raise InputError(f"'{results.name}' was searched on arrays: hand them over in Python, data=(images, labels)")
    data = load(
        spec["data"] if arrays is None else arrays,
        data_dir=data_dir,
        seed=results.experiment["seed"],
        validation=spec["validation"],
        image_size=spec["image_size"],
        split=spec.get("split", "official"),
    )
    if data.digest != row["digest"]:
        raise InputError(f"the data of '{results.name}' has changed since it was searched")
    return data


def with_weights(results: Results, trial: int | None) -> int:
    """The number of the best trial, or of `trial`. Raises InputError where it has no weights to give, and says who has."""
    number = trial_number(results, trial)
    row: Any = results.trials.set_index("number", drop=False).loc[number]
    if row["state"] in ("failed", "refused"):
        raise InputError(f"trial {number} of '{results.name}' {row['state']}: {row['error'] or row['failure']}")
    if row["state"] in ("running", "queued"):
        raise InputError(f"trial {number} of '{results.name}' is still {row['state']}; no trial has finished before it")
    twins = results.trials.set_index("number")["duplicate_of"].dropna()
    if number in twins.index:
        raise InputError(f"trial {number} was answered by its twin: the network is that of trial {twins[number]}")
    if results.experiment["spec"].get("oneshot") is None and not has_checkpoint(_weights(results, number)):
        kept = [str(other) for other in results.trials["number"] if has_checkpoint(_weights(results, other))]
        there = f"trials {', '.join(kept)} have theirs" if kept else "no trial has"
        raise InputError(
            f"no weights were kept for trial {number} of '{results.name}': {there} (keep says how many do)"
        )
    return number


def _weights(results: Results, number: int) -> Path:
    return results.folder / "checkpoints" / f"{number:05d}"


def from_experiment(results: Results, trial: int | None, data: Dataset, test: Scored | None = None) -> Trained:
    """The network of the best trial (or of the one numbered `trial`), and what its experiment knows of it."""
    number = with_weights(results, trial)
    network = trained_model(results, number)
    experiment, spec = results.experiment, results.experiment["spec"]
    row: Any = results.trials.set_index("number", drop=False).loc[number]
    config = results.config(number)
    sizes = {part: data.split[part] for part in ("train", "validation", "test")}
    record = Record(
        name=results.name,
        trial=number,
        config=config,
        task=data.task,
        input_shape=list(data.input_shape),
        classes=data.classes,
        class_names=list(data.class_names),
        dtype="uint8" if data.train.images.dtype == "uint8" else "float32",
        mean=[float(value) for value in data.mean],
        std=[float(value) for value in data.std],
        metrics={name: float(value) for name, value in _numbers(row, METRICS).items()},
        epochs=int(row["epochs"]),
        training=recipe_for(spec["training"], config).model_dump(mode="json"),
        training_s=float(row["seconds"]),
        test=test,
        cost=_numbers(row, tuple(COUNTED)),
        search=_search(results),
        data={"name": data.name, "sha256": data.digest, **sizes},
        fingerprints=experiment["fingerprints"] or {},
    )
    return Trained(network, record)


def _search(results: Results) -> Search:
    spec, trials = results.experiment["spec"], results.trials
    return Search(
        searcher=spec["search"]["name"],
        objective=spec["objective"],
        seed=results.experiment["seed"],
        trials=int((trials["epochs"].notna() & trials["duplicate_of"].isna()).sum()),
        training_s=float(trials["seconds"].sum()),
        elapsed_s=float(results.experiment["elapsed_s"]),
    )


def _numbers(row: Any, names: tuple[str, ...]) -> dict[str, int | float]:
    """The numbers of a trial that are there, as plain ones."""
    there = row.dropna()
    return {
        name: int(there[name]) if isinstance(there[name], Integral) else float(there[name])
        for name in names
        if name in there
    }
