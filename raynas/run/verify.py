"""The honest winner: the best of a search, random networks and a baseline, trained anew from fresh seeds and scored once on
the test split."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from raynas.data import Dataset
from raynas.data.tabular import is_tabular
from raynas.objectives import ENDED
from raynas.results import Store
from raynas.results.results import Results
from raynas.results.schema import trials
from raynas.results.verdict import Verdict, collect
from raynas.run.cluster import QUIET, check_grant, connected, environment
from raynas.run.drive import drive
from raynas.run.ensemble import ensemble_of
from raynas.run.experiment import split_name
from raynas.run.fingerprint import fingerprints
from raynas.run.folders import locked, open_results
from raynas.run.plan import Plan, differences
from raynas.run.score import searched_data
from raynas.run.verification import Verification, Wish, base_settings, changed_settings, plan_of, prepare
from raynas.run.winner import trained_model
from raynas.settings import check
from raynas.tables import InputError


def verify(
    results: Results | str | Path,
    *,
    k: int | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    random: int | None = None,
    baseline: Mapping[str, Any] | str | None = None,
    ensemble: bool = False,
    again: bool = False,
    overrides: Iterable[str] = (),
    home: str | Path | None = None,
    data_dir: str | Path | None = None,
    address: str | None = None,
    progress: bool = True,
) -> Verdict:
    """Train the `k` (3) best networks of a search, `random` ones of its space (as many) and a baseline, each with `seeds` (3)
    fresh seeds, score each once on the test split at the end of its training, and say what came out.

    `epochs` and `overrides` (`training.…=`, `hyperparameters.…=` for all networks, `resources.…=`) change the search's own
    recipe; after a search in a supernet the recipe is the default one. The trainings are experiment NAME/verify-1 in the
    store of the search. A verification that was interrupted goes on, one that is over is read from the store; other
    settings than those on record are refused, unless `again` starts a new one. `ensemble` makes one of the finalists.
    """
    results = results if isinstance(results, Results) else open_results(results, home)
    _check_verifiable(results)
    said = {
        "k": k,
        "random": random,
        "seeds": seeds,
        "baseline": dict(baseline) if isinstance(baseline, Mapping) else baseline,
    }
    given = {name: value for name, value in said.items() if value is not None}
    check(Wish, given, "verify")
    changes = [*overrides, *([] if epochs is None else [f"training.epochs={epochs}"])]
    latest = None if again else results.verification
    if latest is None:
        data = searched_data(results, data_dir)
        row, spec = prepare(results, data, check(Wish, given, "verify"), changes)
    else:
        row, spec = str(latest.row), _on_record(results, latest, given, changes)
        if (verdict := latest.verdict()) is not None:
            return _read(results, latest, verdict, ensemble, data_dir)
        data = searched_data(results, data_dir)
    plan = plan_of(spec, data)
    if latest is None or not _over(results, row, plan):
        with environment(QUIET), connected(address):
            check_grant(plan.experiment)
            if latest is None:
                _add(results, row, spec, plan)
            drive(plan, results.folder, address, progress, spec, row)
    verification = Results(results.path, row)
    verdict = _conclude(results.name, verification, data, ensemble)
    _write(verification, verdict)
    _drop_weights(verification, verdict)
    return verdict


def verified_model(results: Results | str | Path, home: str | Path | None = None) -> Any:
    """The network that the latest verification recommends, as trained by the seed that was best on validation; a torch
    module in evaluation mode."""
    return trained_model(*verified_training(results, home))


def verified_training(results: Results | str | Path, home: str | Path | None = None) -> tuple[Results, int]:
    """The verification's Results and the number of that training in them. Raises InputError before there is one."""
    results = results if isinstance(results, Results) else open_results(results, home)
    verdict = results.verdict()
    if verdict is None or verdict.recommended_trial is None:
        raise InputError(f"'{results.name}' has no network that was verified: raynas verify {results.name}")
    return Results(results.path, f"verify-{verdict.turn}"), verdict.recommended_trial


# -- at the door -------------------------------------------------------------------------------------------------------


def _check_verifiable(results: Results) -> None:
    """Refuse searches whose networks raynas cannot train anew."""
    spec = results.experiment["spec"]
    if results.row is not None:
        raise InputError(f"'{results.name}' is a verification itself")
    if is_tabular(spec["data"]):
        raise InputError(
            f"'{results.name}' looked its trials up in a table: there is no network to train and no test split"
        )
    if spec.get("trainable") is not None:
        raise InputError(f"'{results.name}' trained by a function of yours, which alone knows its test split")
    if spec["data"] == "(arrays)":
        raise InputError(f"'{results.name}' was searched on arrays, which have no test split")


def _on_record(results: Results, latest: Results, given: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """The spec of a verification that was begun; raises InputError when it is not the one that is asked for."""
    spec: dict[str, Any] = latest.experiment["spec"]
    there = {name: spec["verify"][name] for name in given}
    different = differences(there, given)
    fixed = [change for change in changes if not change.startswith("resources.")]
    if fixed:
        asked = changed_settings(base_settings(results), fixed)
        recorded = {"training": spec["training"], "hyperparameters": spec["verify"]["hyperparameters"]}
        different += differences(recorded, {name: asked[name] for name in recorded})
    if different:
        raise InputError(
            f"'{results.name}' was verified with other settings (they differ in {', '.join(different)}): leave them out to see "
            "or go on with that, or verify it --again"
        )
    resources = changed_settings({"training": {}, "resources": spec["resources"]}, changes)["resources"]
    return {**spec, "resources": resources}


# -- running it --------------------------------------------------------------------------------------------------------


def _add(results: Results, row: str, spec: dict[str, Any], plan: Plan) -> None:
    """Write the verification's row: with no search or other verification at work in this store."""
    with locked(results.folder):
        store = Store.open(results.path, writable=True)
        try:
            values = {"spec": spec, "seed": plan.experiment.seed, "data": results.experiment["data"]}
            store.add(row, {**values, "fingerprints": fingerprints(None)})
        finally:
            store.close()


def _over(results: Results, row: str, plan: Verification) -> bool:
    """Whether every training has ended."""
    store = Store.open(results.path, row=row)
    try:
        ended = sum(trial["state"] in ENDED for trial in store.rows(trials))
    finally:
        store.close()
    return ended == len(plan.entries) * plan.seeds


def _conclude(name: str, verification: Results, data: Dataset, ensemble: bool) -> Verdict:
    """Put the verdict together from the trainings."""
    assert data.test is not None
    spec, networks = verification.experiment["spec"], collect(verification)
    record = spec["verify"]
    objective, options = split_name(spec["objective"], "fitness")
    return Verdict(
        name=name,
        turn=record["turn"],
        epochs=spec["training"]["epochs"],
        images=len(data.test),
        objective=str(options.get("metric", objective)),
        search_s=record["search_s"],
        networks=networks,
        notes=tuple(record["notes"]),
        ensemble=ensemble_of(verification, networks, data) if ensemble else None,
    )


def _read(
    results: Results, verification: Results, verdict: Verdict, ensemble: bool, data_dir: str | Path | None
) -> Verdict:
    """A verdict that is on record, with an ensemble where one is asked for that it has not, and what happened since."""
    if ensemble and verdict.ensemble is None:
        made = ensemble_of(verification, verdict.networks, searched_data(results, data_dir))
        verdict = replace(verdict, ensemble=made)
        _write(verification, verdict)
    if len(results.trials) == verification.experiment["spec"]["verify"]["seen"]:
        return verdict
    return replace(verdict, notes=(*verdict.notes, "The search has gone on since: --again verifies what it found."))


def _write(verification: Results, verdict: Verdict) -> None:
    with locked(verification.path.parent):
        store = Store.open(verification.path, writable=True, row=verification.row)
        try:
            store.conclude(verdict.as_data())
        finally:
            store.close()


def _drop_weights(verification: Results, verdict: Verdict) -> None:
    """Weights stay for the finalists: the recommended one is to be used, an ensemble may be asked for later."""
    kept = {number for network in verdict.of_kind("finalist") for number in network.trials}
    for folder in (verification.folder / "checkpoints").glob("[0-9]*"):
        if int(folder.name) not in kept:
            shutil.rmtree(folder, ignore_errors=True)
