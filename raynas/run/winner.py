"""The model itself: the network of a trial, with the weights its search left."""

from pathlib import Path
from typing import Any

from raynas.data.tabular import is_tabular
from raynas.models import build
from raynas.results.results import Results
from raynas.run.folders import open_results
from raynas.tables import InputError
from raynas.train.checkpoint import has_checkpoint, load_weights


def trained_model(results: Results | str | Path, trial: int | None = None, home: str | Path | None = None) -> Any:
    """The torch module of the best trial (or of the one numbered `trial`), trained, in evaluation mode.

    It takes images (B, C, H, W) normalised with the mean and std of the search's training split. Weights are kept for
    the best `keep` trials of an experiment.
    """
    results = results if isinstance(results, Results) else open_results(results, home)
    number = trial_number(results, trial)
    data = results.experiment["data"]
    if is_tabular(results.experiment["spec"]["data"]):
        raise InputError(f"'{results.name}' looked its trials up in a table: there is no network with weights")
    if results.experiment["spec"].get("oneshot") is not None:
        raise InputError(
            f"'{results.name}' searched in supernets, whose weights are for choosing: raynas derive {results.name} trains what it found"
        )
    if data is None:
        raise InputError(f"'{results.name}' trained by a function of yours: its networks are yours too")
    folder = results.folder / "checkpoints" / f"{number:05d}"
    if not has_checkpoint(folder):
        raise InputError(f"no weights were kept for trial {number}: 'keep' says how many of the best keep theirs")
    network = build(results.config(number), tuple(data["input_shape"]), data["classes"])
    load_weights(folder, network)
    return network.eval()


def trial_number(results: Results, trial: int | None) -> int:
    """The number of the best trial, or `trial` if there is one of that number."""
    rows = results.best(1) if trial is None else results.trials[results.trials["number"] == trial]
    if rows.empty:
        raise InputError(f"'{results.name}' has no {'finished trial' if trial is None else f'trial {trial}'} yet")
    return int(rows["number"].iloc[0])
