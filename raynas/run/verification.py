"""What a verification is: its settings, its networks, and its plan."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field

from raynas.data import Dataset
from raynas.models import same_network
from raynas.objectives import MEASURED, OBJECTIVES, Objective, parse_limit
from raynas.results.results import Results
from raynas.rng import seed_at
from raynas.run.experiment import Count, Experiment, split_name
from raynas.run.finalists import NO_BASELINE, Entry, at_random, finalists, the_baseline
from raynas.run.plan import Plan, check_parameters
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

    def __init__(self, runs: list[tuple[Config, dict[str, Any]]]):
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
        runs = [
            (entry.config, {"operator": "verify", "network": place, "label": entry.label, "turn": turn})
            for turn in range(self.seeds)
            for place, entry in enumerate(self.entries)
        ]
        return Listed(runs)


def turn_of(results: Results) -> int:
    """The number of the next verification."""
    latest = results.verification
    return 1 if latest is None else 1 + int(str(latest.row).removeprefix("verify-"))


def base_settings(results: Results) -> dict[str, Any]:
    """The settings of a search that a verification begins with. A supernet's recipe is none for a network alone."""
    spec = results.experiment["spec"]
    training = spec["training"] if spec.get("oneshot") is None else {}
    return {"training": training, "hyperparameters": {}, "resources": spec["resources"]}


def changed_settings(base: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """Settings with `key=value` changes put in; raises InputError for what a verification cannot change."""
    for change in changes:
        if not change.startswith(tuple(f"{name}." for name in CHANGEABLE)):
            raise InputError(f"verify can change training.…, hyperparameters.… and resources.…, got '{change}'")
    changed = override(base, changes)
    return {**changed, "training": check(Recipe, changed["training"], "training").model_dump(mode="json")}


def prepare(results: Results, data: Dataset, wish: Wish, changes: list[str]) -> tuple[str, dict[str, Any]]:
    """A new verification: its row's name and its spec, the networks in it."""
    searched, settings = results.experiment["spec"], changed_settings(base_settings(results), changes)
    space = _space(searched, data, settings)
    turn = turn_of(results)
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
        "random": wish.k if wish.random is None else wish.random,
        "turn": turn,
        "seen": len(results.trials),
        "search_s": float(results.trials["seconds"].sum()),
        "hyperparameters": settings["hyperparameters"],
        "networks": [asdict(entry) for entry in chosen],
        "notes": notes,
    }
    return f"verify-{turn}", {**made, "verify": record}


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


def _objective(spec: dict[str, Any]) -> Objective:
    name, options = split_name(spec["objective"], "fitness")
    return construct(look_up("objective", name, OBJECTIVES), options, "objective")


def plan_of(spec: dict[str, Any], data: Dataset) -> Verification:
    """The plan that a verification's row stands for."""
    given = {key: value for key, value in spec.items() if key != "verify"}
    space, record = read(spec["space"]), spec["verify"]
    rule = same_network(space.constants, data.input_shape)
    space = space if rule is None else space.merging(rule)
    entries = tuple(Entry(**entry) for entry in record["networks"])
    experiment = check(Experiment, given, "verify")
    return Verification(experiment, space, _objective(spec), None, data, entries=entries, seeds=record["seeds"])
