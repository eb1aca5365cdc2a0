"""A trained network out of an experiment, with what is known of it."""

import math
from numbers import Integral
from pathlib import Path
from typing import Any

from raynas.data import Dataset
from raynas.exports.model import WEIGHTS, Trained, from_folder
from raynas.exports.record import FILE, Record, Scored, Search, Verified
from raynas.objectives import COSTS
from raynas.results.results import Results
from raynas.results.verdict import Network, Verdict
from raynas.run.folders import open_results
from raynas.run.searched import dataset_of
from raynas.run.winner import trained_model, trial_number
from raynas.tables import InputError
from raynas.train.checkpoint import has_checkpoint
from raynas.train.fit import METRICS
from raynas.train.recipe import recipe_for


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


def with_weights(results: Results, trial: int | None) -> int:
    """The number of the best trial, or of `trial`. Raises InputError where it has no weights to give, and says who has."""
    number = trial_number(results, trial)
    row: Any = results.trials.set_index("number", drop=False).loc[number]
    if row["state"] in ("failed", "refused"):
        raise InputError(f"trial {number} of '{results.name}' {row['state']}: {row['error'] or row['failure']}")
    if row["state"] in ("running", "queued"):
        raise InputError(f"trial {number} of '{results.name}' is still {row['state']}")
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
    """The network of the best trial (or of the one numbered `trial`), and what its experiment knows of it; of a verification
    also the search that it is of."""
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
        cost=_numbers(row, tuple(COSTS)),
        search=_search(results if results.row is None else Results(results.path)),
        verified=None if results.row is None else _verified(results, number),
        data={"name": data.name, "sha256": data.digest, **sizes},
        fingerprints=experiment["fingerprints"] or {},
    )
    return Trained(network, record)


def _verified(results: Results, number: int) -> Verified | None:
    """What the verification says of the network of its training `number`; None before it is over."""
    verdict: Verdict | None = results.verdict()
    networks = () if verdict is None else verdict.networks
    network: Network | None = next((each for each in networks if number in each.trials), None)
    if verdict is None or network is None:
        return None
    mean, half = verdict.interval(network)
    return Verified(
        verification=str(results.row),
        label=network.label,
        kind=network.kind,
        of=network.of,
        recommended=network is verdict.recommended and number == verdict.recommended_trial,
        finalists=len(verdict.of_kind("finalist")),
        trainings=len(network.trials),
        mean=mean,
        half=None if math.isnan(half) else half,
        all_trainings=sum(len(each.trials) for each in verdict.networks),
        training_s=float(results.trials["seconds"].sum()),
        elapsed_s=float(results.experiment["elapsed_s"]),
    )


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
