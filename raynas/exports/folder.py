"""A trained network becomes a folder: whole, and the same as the original in every format, or not there at all."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raynas.data import Dataset
from raynas.data.batches import Batches
from raynas.data.dataset import Split
from raynas.exports.card import card
from raynas.exports.experiment import from_experiment, with_weights
from raynas.exports.formats import ALWAYS, FORMATS, ExportError
from raynas.exports.model import Trained
from raynas.exports.onnx import missing
from raynas.exports.record import FILE, Score, Scored, title, write_record
from raynas.models.source import source
from raynas.results.results import Results
from raynas.run.folders import open_results
from raynas.run.searched import dataset_of
from raynas.run.verify import verified_training
from raynas.tables import InputError, look_up

COMPARED = 128  # real images
TOLERANCE = 1e-4  # of the largest logit, or of 1 where all are smaller


@dataclass(frozen=True)
class Export:
    """`origin` says in words whose network it is. `differences`: by format, the largest from the original's logits, on `images` real images. `left_out`: formats that
    nobody asked for by name and that cannot be written, and why."""

    folder: Path
    trial: int
    origin: str
    images: int
    differences: dict[str, float]
    left_out: dict[str, str]


def export(
    results: Results | str | Path,
    trial: int | None = None,
    *,
    output: str | Path | None = None,
    formats: Sequence[str] | None = None,
    force: bool = False,
    score: Score | None = None,
    data: Any = None,
    home: str | Path | None = None,
    data_dir: str | Path | None = None,
) -> Export:
    """Write the network of the best trial (or of the one numbered `trial`) into the folder `output` (NAME-trial-N), in
    all `formats` (those of FORMATS) and with a model card, each format compared with the original on real images.

    Of a search that was verified it is the network that is recommended, unless `trial` says another: as trained by the
    seed that was best on validation, with the score that `verify` gave it. `force` replaces a folder that an export made.
    `score` (what `raynas.run.score` gives) is what the card says of the test split, `data`
    is handed over again where the search was on arrays. Raises InputError for what cannot be exported, ExportError where a
    format does not do what the original does; neither leaves anything behind.
    """
    results = results if isinstance(results, Results) else open_results(results, home)
    verdict = results.verdict() if trial is None and score is None else None
    if verdict is not None and verdict.recommended_trial is not None:
        results, trial = verified_training(results)
        score = verdict.score(trial)
    for name in formats or ():
        look_up("format", name, FORMATS)
    number = with_weights(results, trial)
    folder = Path(output or title(results.name, number))
    check_place(folder, force)
    dataset = dataset_of(results, data_dir, data)
    model = from_experiment(results, number, dataset, _scored(score, number))
    wanted, left_out = chosen(model, formats)
    fresh = folder.with_name(f".{folder.name}.new-{os.getpid()}")
    fresh.mkdir(parents=True)
    try:
        images, differences = write_all(fresh, model, dataset, wanted)
        _put(fresh, folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return Export(folder, number, model.record.origin, images, differences, left_out)


def _scored(score: Score | None, number: int) -> Scored | None:
    if score is None:
        return None
    if score.trial != number:
        raise InputError(f"the score is of trial {score.trial}, the export of trial {number}")
    return Scored(accuracy=score.accuracy, low=score.low, high=score.high, images=score.images)


def check_place(folder: Path, force: bool) -> None:
    """Refuse to write over what is there; with `force` only over what is no export."""
    if not folder.exists() and not folder.is_symlink():
        return
    if folder.name in ("", ".."):
        raise InputError(f"'{folder}' cannot be replaced by a new folder: say its name")
    if not force:
        raise InputError(f"'{folder}' is there already; another --output, or --force to replace it")
    if folder.is_symlink() or not folder.is_dir() or (any(folder.iterdir()) and not (folder / FILE).is_file()):
        raise InputError(f"'{folder}' is no exported folder: --force does not replace it")


def chosen(model: Trained, formats: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    """The formats to write, in order, and those left out, with the reason. One that is asked for by name is never left out."""
    left_out: dict[str, str] = {}
    if formats is None:
        if (why := missing()) is not None:
            left_out["onnx"] = why
        if source(model.record.config, model.record.shape, model.record.classes) is None:
            left_out["python"] = f"the network of '{model.record.config['model']}' is code of yours"
    wanted = [name for name in FORMATS if name == ALWAYS or name in (formats or FORMATS)]
    return [name for name in wanted if name not in left_out], left_out


def write_all(folder: Path, model: Trained, dataset: Dataset, formats: Sequence[str]) -> tuple[int, dict[str, float]]:
    """All files; the number of images compared, and for each format the largest difference."""
    some, expected = original(model, dataset)
    differences = {}
    for name in formats:
        FORMATS[name].write(folder, model)
        differences[name] = difference(name, folder, some, expected)
    record = model.record.model_copy(update={"formats": differences})
    write_record(folder, record)
    (folder / "README.md").write_text(card(record, len(some)), encoding="utf-8")
    return len(some), differences


def original(model: Trained, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Real images (B, C, H, W), in the data's own units, and the logits that the network has for them, fed as in training:
    those of validation first, then of train."""
    parts = [part.images[:COMPARED] for part in (dataset.validation, dataset.train)]
    images = np.concatenate(parts)[:COMPARED]
    batches = Batches(Split(images, np.zeros(len(images))), dataset.mean, dataset.std, torch.device("cpu"))
    with torch.no_grad():
        expected = model.network(batches.at(slice(None))[0]).float()
    if not expected.isfinite().all():
        raise InputError("the network's own logits are not finite: there is nothing to compare with")
    return torch.from_numpy(images).float().permute(0, 3, 1, 2).contiguous(), expected


def difference(name: str, folder: Path, images: Tensor, expected: Tensor) -> float:
    """The largest difference of a written format's logits; one image alone and the others together, so that both work."""
    with torch.no_grad():
        found = FORMATS[name].run(folder, [images[:1], images[1:]])
    largest = float((found - expected).abs().max())
    if not largest <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise ExportError(
            f"{name} is not the original: its logits differ by up to {largest:.3g} on {len(images)} images "
            f"(the largest logit is {float(expected.abs().max()):.3g})"
        )
    return largest


def _put(fresh: Path, folder: Path) -> None:
    """Make the new folder the one of that name; an old one goes when the new one is there."""
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
        folder.rename(old)
        try:
            fresh.rename(folder)
        except BaseException:
            old.rename(folder)
            raise
        shutil.rmtree(old)
    else:
        fresh.rename(folder)
