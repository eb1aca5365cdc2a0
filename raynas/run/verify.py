"""The honest winner: the best of a search, random networks and a baseline, trained anew from fresh seeds and scored once on
the test split."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from raynas.data import Dataset
from raynas.data.tabular import is_tabular
from raynas.models import same_network
from raynas.objectives import ENDED, MEASURED, OBJECTIVES, parse_limit
from raynas.results import Store
from raynas.results.results import Results
from raynas.results.schema import trials
from raynas.results.verdict import Verdict, collect, read_verdict
from raynas.rng import seed_at
from raynas.run.cluster import QUIET, check_grant, connected, environment
from raynas.run.drive import drive
from raynas.run.ensemble import ensemble_of
from raynas.run.experiment import Count, Experiment, split_name
from raynas.run.finalists import NO_BASELINE, Entry, at_random, finalists, the_baseline
from raynas.run.fingerprint import fingerprints
from raynas.run.folders import locked, open_results
from raynas.run.plan import Plan, check_parameters, differences
from raynas.run.score import searched_data
from raynas.run.winner import trained_model
from raynas.searchers import Searcher
from raynas.settings import Settings, check, construct, override
from raynas.space import Config, Space, read
from raynas.tables import InputError, look_up
from raynas.train.recipe import Recipe, recipe_for

CHANGEABLE = ("training", "hyperparameters", "resources")


class Wish(Settings):
    """What a verification trains: the `k` best of the search, `random` networks of its space (as many, where not said) and a
    `baseline` (a config; the table's, where not said; or "none"), each with `seeds` seeds."""

    k: Count = 3
    random: Annotated[int, Field(ge=0)] | None = None
    seeds: Annotated[int, Field(ge=2)] = 3
    baseline: dict[str, Any] | str | None = None


class Listed:
    """A searcher that proposes what it was given, in order, each once."""

    def __init__(self, runs: tuple[tuple[Config, dict[str, Any]], ...]):
        self.runs, self.asked = runs, 0
        self.origin: dict[str, Any] = {}

    def ask(self) -> Config | None:
        if self.asked == len(self.runs):
            return None
        config, self.origin = self.runs[self.asked]
        self.asked += 1
        return dict(config)

    def tell(self, trial: Any) -> None:
        pass


@dataclass(frozen=True)
class Verification(Plan):
    """The plan of a verification: every entry once a seed, seed by seed; nothing is merged, all score the test split."""

    entries: tuple[Entry, ...] = ()
    seeds: int = 3

    @property
    def merge(self) -> bool:
        return False

    @property
    def scores_test(self) -> bool:
        return True

    def searcher(self, seed: int | None = None) -> Searcher:
        places = [(turn, place) for turn in range(self.seeds) for place in range(len(self.entries))]
        return Listed(
            tuple(
                (self.entries[place].config, {"operator": "verify", "network": place, "label": self.entries[place].label, "turn": turn})
                for turn, place in places
            )
        )  # fmt: skip


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
    row = None if again else _latest(results)
    spec = None if row is None else _on_record(results, row, given, changes)
    if row is not None and (verdict := read_verdict(Results(results.path, row))) is not None:
        return verdict if not ensemble or verdict.ensemble else _with_ensemble(results, verdict, data_dir)
    data = searched_data(results, data_dir)
    new = spec is None
    if spec is None:
        row, spec = _prepare(results, data, check(Wish, given, "verify"), changes)
    assert row is not None
    plan = _plan(spec, data)
    if new or not _over(results, row, plan):
        with environment(QUIET), connected(address):
            check_grant(plan.experiment)
            if new:
                _add(results, row, spec, plan)
            drive(plan, results.folder, address, progress, spec, row)
    verdict = _conclude(results, row, spec, data, ensemble)
    _drop_weights(Results(results.path, row), verdict)
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


def _latest(results: Results) -> str | None:
    verification = results.verification
    return None if verification is None else verification.row


def _base(results: Results) -> dict[str, Any]:
    """The settings of a search that a verification begins with. A supernet's recipe is none for a network alone."""
    spec = results.experiment["spec"]
    training = spec["training"] if spec.get("oneshot") is None else {}
    return {"training": training, "hyperparameters": {}, "resources": spec["resources"]}


def _changed(base: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    for change in changes:
        if not change.startswith(tuple(f"{name}." for name in CHANGEABLE)):
            raise InputError(f"verify can change training.…, hyperparameters.… and resources.…, got '{change}'")
    changed = override(base, changes)
    return {**changed, "training": check(Recipe, changed["training"], "training").model_dump(mode="json")}


def _on_record(results: Results, row: str, given: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """The spec of a verification that was begun; raises InputError when it is not the one that is asked for."""
    spec: dict[str, Any] = Results(results.path, row).experiment["spec"]
    there = {name: spec["verify"][name] for name in given}
    different = differences(there, given)
    fixed = [change for change in changes if not change.startswith("resources.")]
    if fixed:
        asked = _changed(_base(results), fixed)
        recorded = {"training": spec["training"], "hyperparameters": spec["verify"]["hyperparameters"]}
        different += differences(recorded, {name: asked[name] for name in recorded})
    if different:
        raise InputError(
            f"'{results.name}' was verified with other settings (they differ in {', '.join(different)}): leave them out to see "
            "or go on with that, or verify it --again"
        )
    resources = _changed({"training": {}, "resources": spec["resources"]}, changes)["resources"]
    return {**spec, "resources": resources}


def _prepare(results: Results, data: Dataset, wish: Wish, changes: list[str]) -> tuple[str, dict[str, Any]]:
    """A new verification: its row's name and its spec, the networks in it."""
    searched, settings = results.experiment["spec"], _changed(_base(results), changes)
    space = _space(searched, data, settings)
    turn = 1 + len(_others(results))
    chosen, notes = _networks(results, data, space, wish, settings, turn)
    count = len(chosen) * wish.seeds
    experiment = {
        **{key: searched[key] for key in ("data", "validation", "image_size", "objective")},
        "split": searched.get("split", "official"),
        **{key: settings[key] for key in ("training", "resources")},
        "space": space.spec(),
        "search": {"name": "verify"},
        "budget": {"trials": count},
        "keep": count,
        "seed": seed_at(results.experiment["seed"], 9, turn),
    }
    made = check(Experiment, experiment, "verify").model_dump(mode="json")
    record = {
        **wish.model_dump(mode="json"),
        "random": sum(entry.kind == "random" for entry in chosen) if wish.random is None else wish.random,
        "turn": turn,
        "search_s": float(results.trials["seconds"].sum()),
        "hyperparameters": settings["hyperparameters"],
        "networks": [asdict(entry) for entry in chosen],
        "notes": notes,
    }
    return f"verify-{turn}", {**made, "verify": record}


def _others(results: Results) -> list[str]:
    store = Store.open(results.path)
    try:
        return store.others()
    finally:
        store.close()


def _space(searched: dict[str, Any], data: Dataset, settings: dict[str, Any]) -> Space:
    """The space of the networks, with the constants that are given instead of a hyperparameter."""
    oneshot = searched.get("oneshot")
    found = read(searched["space"] if oneshot is None else oneshot["space"])
    for name, value in settings["hyperparameters"].items():
        if isinstance(value, dict | list):
            raise InputError(f"a verification searches nothing: hyperparameters.{name} is one value, got {value!r}")
    space = Space({**found.parameters, **settings["hyperparameters"]}, found.about)
    usual = Recipe().model_dump(mode="json") if oneshot is not None else searched["training"]
    for name, value in settings["training"].items():
        if name in space.domains and value != usual.get(name, value):
            raise InputError(f"each network has its own {name}: hyperparameters.{name}={value} sets it for all")
    check_parameters(space, Recipe(**settings["training"]))
    rule = same_network(space.constants, data.input_shape)
    return space if rule is None else space.merging(rule)


def _networks(
    results: Results, data: Dataset, space: Space, wish: Wish, settings: dict[str, Any], turn: int
) -> tuple[list[Entry], list[str]]:
    """What is trained, and what a reader must know of the choice."""
    searched, notes = results.experiment["spec"], []
    plan = Plan(check(Experiment, _alone(searched, space, settings), "verify"), space, _objective(searched), None, data)
    limits = [] if searched.get("oneshot") is not None else searched.get("limits", [])
    best = finalists(results, space, wish.k, settings["hyperparameters"])
    if len(best) < wish.k:
        notes.append(f"The search has {len(best)} different networks that finished, not {wish.k}.")
    wanted = wish.k if wish.random is None else wish.random
    drawn = at_random(space, plan.cost, limits, best, wanted, results.experiment["seed"], turn) if wanted else []
    if len(drawn) < wanted:
        notes.append(f"Only {len(drawn)} random networks that are not among the finalists were found, not {wanted}.")
    if any(parse_limit(limit).cost == MEASURED for limit in limits):
        notes.append(
            "The limit on latency was not put to the random networks and the baseline: it is measured in trials."
        )
    base = the_baseline(space, settings["training"], wish.baseline, data.input_shape, data.classes)
    if base is None and wish.baseline != NO_BASELINE:
        notes.append("No baseline is known for these networks: --baseline takes a config.")
    chosen = [*best, *drawn, *([] if base is None else [base])]
    for entry in chosen:
        recipe_for(settings["training"], entry.config)
    return chosen, notes


def _alone(searched: dict[str, Any], space: Space, settings: dict[str, Any]) -> dict[str, Any]:
    return {"space": space.spec(), "data": searched["data"], "training": settings["training"]}


def _objective(spec: dict[str, Any]) -> Any:
    name, options = split_name(spec["objective"], "fitness")
    return construct(look_up("objective", name, OBJECTIVES), options, "objective")


# -- running it --------------------------------------------------------------------------------------------------------


def _plan(spec: dict[str, Any], data: Dataset) -> Verification:
    given = {key: value for key, value in spec.items() if key != "verify"}
    space, record = read(spec["space"]), spec["verify"]
    rule = same_network(space.constants, data.input_shape)
    space = space if rule is None else space.merging(rule)
    entries = tuple(Entry(**entry) for entry in record["networks"])
    experiment = check(Experiment, given, "verify")
    return Verification(experiment, space, _objective(spec), None, data, entries=entries, seeds=record["seeds"])


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


def _conclude(results: Results, row: str, spec: dict[str, Any], data: Dataset, ensemble: bool) -> Verdict:
    """Put the verdict together and write it."""
    assert data.test is not None
    verification, record = Results(results.path, row), spec["verify"]
    networks = collect(verification)
    name, options = split_name(spec["objective"], "fitness")
    verdict = Verdict(
        name=results.name,
        turn=record["turn"],
        epochs=spec["training"]["epochs"],
        images=len(data.test),
        objective=str(options.get("metric", name)),
        search_s=record["search_s"],
        networks=networks,
        notes=tuple(record["notes"]),
        ensemble=ensemble_of(verification, networks, data) if ensemble else None,
    )
    _write(verification, verdict)
    return verdict


def _with_ensemble(results: Results, verdict: Verdict, data_dir: str | Path | None) -> Verdict:
    """A verdict that is on record, with an ensemble."""
    verification = Results(results.path, f"verify-{verdict.turn}")
    made = ensemble_of(verification, verdict.networks, searched_data(results, data_dir))
    verdict = replace(verdict, ensemble=made)
    _write(verification, verdict)
    return verdict


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
