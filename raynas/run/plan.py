"""From an Experiment to what it takes to run it: everything is looked up and checked here, before anything is written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray.tune.schedulers import TrialScheduler

from raynas.data import Dataset, load
from raynas.data.tabular import Table, is_tabular, load_table
from raynas.models import build, cost, model, same_network
from raynas.objectives import COSTS, MEASURED, OBJECTIVES, Limit, Objective, parse_limit
from raynas.results.results import COLUMNS
from raynas.rng import stream
from raynas.run.experiment import AUTO, Experiment, look_up_or_import, split_name
from raynas.run.feasible import Feasible, examine
from raynas.run.schedulers import SCHEDULERS, WAITING, Work, adjustable
from raynas.run.sharing import Sharing
from raynas.run.third_party import ThirdParty
from raynas.run.tracking import check_trackers, without_passwords
from raynas.run.warm import warmed
from raynas.searchers import SEARCHERS, Searcher
from raynas.settings import construct
from raynas.space import Space, read
from raynas.tables import InputError, import_named, look_up, nearest, unknown
from raynas.train.enas import METRICS as ONESHOT_METRICS
from raynas.train.enas import ONESHOT, Enas, Search, options_for
from raynas.train.fit import METRICS
from raynas.train.own import OwnTraining, check_function
from raynas.train.parallel import check_parts
from raynas.train.recipe import Recipe, recipe_for

Function = Callable[..., Any]
ROWS = 100  # configs that are looked up in a table before a search of it
RUN = "run"  # the parameter that tells supernet searches of equal settings apart


@dataclass(frozen=True)
class Plan:
    """A checked experiment with its parts. `function` is the user's own training, `dataset` what networks train on, `table`
    what answers trials instead; `architectures` is the space that each trial searches in a supernet; `feasible` is how much
    of the space the limits leave."""

    experiment: Experiment
    space: Space
    objective: Objective
    function: Function | None
    dataset: Dataset | None
    table: Table | None = None
    feasible: Feasible | None = None
    architectures: Space | None = None
    sharing: Sharing | None = None  # of a GPU, once it is measured

    @property
    def merge(self) -> bool:
        """Whether a network that was trained already is answered from the store."""
        return True

    @property
    def scores_test(self) -> bool:
        """Whether trainings score the test split when they are over: those of a search never do."""
        return False

    @property
    def limits(self) -> tuple[Limit, ...]:
        return tuple(parse_limit(text) for text in self.experiment.limits)

    @property
    def timed(self) -> bool:
        """Whether latency is asked for."""
        return MEASURED in self.objective.reads or any(limit.cost == MEASURED for limit in self.limits)

    def searcher(self, seed: int | None = None) -> Searcher:
        """A fresh searcher, as it is before the first ask; with the experiment's seed or another."""
        seed = self.experiment.seed if seed is None else seed
        name, options = split_name(self.experiment.search)
        warm_up = options.pop("warm_up", None)
        found = look_up_or_import("searcher", name, SEARCHERS, import_named)
        if name not in SEARCHERS:
            if warm_up is not None:
                raise InputError(
                    "warm_up goes with raynas's own searchers: others take no trials that they did not ask for"
                )
            return ThirdParty(found, self.space, options)
        made: Searcher = construct(found, options, "search", self.space, seed)
        return made if warm_up is None else warmed(made, warm_up, seed, self)

    def scheduler(self) -> TrialScheduler:
        name, options = split_name(self.experiment.stop)
        return construct(look_up("scheduler", name, SCHEDULERS), options, "stop", self._work())

    @property
    def most_epochs(self) -> int | None:
        """The epochs after which a trial is done whoever stops it; None where only the training knows."""
        said: int | None = self.experiment.stop.get("max_epochs")
        return said or self._work().epochs

    @property
    def waits(self) -> bool:
        """Whether the scheduler wants all trials out at once."""
        return self.experiment.stop["name"] in WAITING

    def _work(self) -> Work:
        own = self.function is not None
        takes = self.function is None or OwnTraining(self.function).takes_checkpoint
        epochs = None if own else self.experiment.training.epochs
        return Work(epochs, self._adjustable(own), takes)

    def _adjustable(self, own: bool) -> dict[str, Any]:
        return adjustable(self.space.domains, own)

    def cost(self, config: dict[str, Any]) -> dict[str, Any] | None:
        """Parameters, FLOPs and memory of a config's network; None where the model cannot be built on the meta device."""
        if self.table is not None:
            return self.table.cost(self.table.find(config))
        if self.dataset is None or self.architectures is not None:
            return None
        try:
            return dict(cost(config, self.dataset.input_shape, self.dataset.classes))
        except Exception:  # the trial itself will show a builder's error, as its own
            return None


def resolve_space(experiment: Experiment, table: Table | None = None) -> Space:
    """The experiment's space with its hyperparameters put in; `table` stands for the table's own."""
    runs = {RUN: {"randint": [0, 2**31]}}
    if experiment.oneshot is not None and experiment.space == {}:
        space = read(runs)
    else:
        space = read(table.parameters if table is not None and experiment.space == "table" else experiment.space)
    if experiment.hyperparameters:
        merged = {**space.parameters, **read(experiment.hyperparameters).parameters}
        space = Space(merged, space.about)
    return space


def check_parameters(space: Space, training: Recipe) -> None:
    """Every parameter must be read by the model or the recipe: one that nobody reads would be searched in vain."""
    if "model" in space.domains:
        raise InputError("the parameter 'model' must be a constant: one space searches the networks of one model")
    kind = model(space.parameters)
    known = {"model", *kind.needs, *kind.reads, *Recipe.model_fields}
    for name in space.parameters:
        if name not in known:
            raise InputError(
                f"nothing reads the parameter '{name}'.{nearest(name, known)} "
                f"The model reads {', '.join((*kind.needs, *kind.reads))}; training reads {', '.join(Recipe.model_fields)}"
            )
    missing = [name for name in kind.needs if name not in space.parameters]
    if missing:
        raise InputError(
            f"the model '{space.constants.get('model', 'genome')}' needs the parameters {', '.join(missing)}"
        )
    for number in range(3):  # values of the space that the recipe refuses show here
        recipe_for(training.model_dump(), space.sample(stream(0, number)))


def resolve_oneshot(experiment: Experiment, space: Space, dataset: Dataset) -> Space:
    """The space of the architectures of a supernet search whose own hyperparameters are `space`. Raises InputError where
    no supernet can hold them."""
    import torch

    given = experiment.oneshot or {}
    if given["name"] not in ONESHOT:
        raise unknown("one-shot search", given["name"], ONESHOT)
    options_for(given, {})
    known = {*Recipe.model_fields, *Enas.model_fields} - {"epochs", "name", "space"}
    for name in space.parameters:
        if name not in (*known, RUN):
            raise InputError(
                f"nothing reads the parameter '{name}'.{nearest(name, known)} A supernet search reads {', '.join(sorted(known))}"
            )
    architectures, tried = read(given["space"]), []
    for number in range(3):  # values of the space that are refused show here
        config = space.sample(stream(0, number))
        recipe, options = recipe_for(experiment.training.model_dump(), config), options_for(given, config)
        if options not in tried:
            tried.append(options)
            with torch.device("meta"):
                Search(architectures, options, recipe, dataset.input_shape, dataset.classes)
    return architectures


def check_columns(space: Space) -> None:
    columns = {column.lower() for column in (*COLUMNS, "generation", "operator", "parents")}
    taken = ", ".join(name for name in space.parameters if name.lower() in columns)
    if taken:
        raise InputError(f"a parameter cannot be called {taken}: the table of trials has a column of that name")


def make_plan(
    experiment: Experiment,
    *,
    function: Function | None = None,
    arrays: Any = None,
    data_dir: str | Path | None = None,
    table: Table | None = None,
) -> Plan:
    """Look everything up and check it. `function`, `arrays` and `table` are what Python callers hand over in person."""
    if table is None and is_tabular(experiment.data):
        table = load_table(experiment.data or "")
    space = resolve_space(experiment, table)
    check_columns(space)
    name, options = split_name(experiment.objective, "fitness")
    objective = construct(look_up("objective", name, OBJECTIVES), options, "objective")
    dataset = architectures = None
    if experiment.trainable is not None:
        function = function or import_named("trainable", experiment.trainable)
        check_function(function)
    elif table is not None:
        function = None
        check_table(table, space)
        experiment = with_epochs(experiment, table)
    else:
        function = None
        if experiment.oneshot is None:
            check_parameters(space, experiment.training)
        source = experiment.data if arrays is None else arrays
        dataset = load(
            source,
            data_dir=data_dir,
            seed=experiment.seed,
            validation=experiment.validation,
            image_size=experiment.image_size,
            split=experiment.split,
        )
        if experiment.oneshot is not None:
            architectures = resolve_oneshot(experiment, space, dataset)
        else:
            rule = same_network(space.constants, dataset.input_shape)
            space = space.merging(rule) if rule is not None else space
            _build_one(space, dataset)
    plan = Plan(experiment, space, objective, function, dataset, table, architectures=architectures)
    check_goals(plan)
    check_resources(plan)
    plan.searcher()
    plan.scheduler()
    if plan.waits and experiment.resources.concurrency is not None:
        raise InputError(
            f"{experiment.stop['name']} has all trials out at once: resources.concurrency does not go with it"
        )
    if plan.waits and experiment.budget.trials is None:
        raise InputError(f"{experiment.stop['name']} needs budget.trials: its trials take turns")
    check_trackers(experiment.track)
    return replace(plan, feasible=examine(space, plan.cost, plan.limits))


def with_epochs(experiment: Experiment, table: Table) -> Experiment:
    """The experiment with as many epochs as the table has, where none were said."""
    if "epochs" in experiment.training.model_fields_set:
        return experiment
    training = experiment.training.model_copy(update={"epochs": table.epochs[-1]})
    return experiment.model_copy(update={"training": training})


def check_table(table: Table, space: Space) -> None:
    """Configs of the space must have a row, and be told apart by nothing else."""
    for number in range(ROWS):
        table.find(space.sample(stream(0, number)))
    for name in space.parameters:
        if name not in table.parameters:
            raise InputError(
                f"the table '{table.name}' does not know the parameter '{name}'; it has {', '.join(table.parameters)}"
            )


def check_goals(plan: Plan) -> None:
    """Refuse what the objective, the limits and the searcher cannot be told, before a trial finds out."""
    if plan.table is not None:
        known = [*plan.table.metrics, *plan.table.costs, "simulated_s"]
        for name in (*plan.objective.reads, *(limit.cost for limit in plan.limits)):
            if name not in known:
                raise unknown("metric of the table", name, known)
        asked, first = plan.experiment.training.epochs, plan.table.epochs[0]
        if asked < first:
            raise InputError(
                f"the table's trials report first at epoch {first}; training.epochs={asked} is before that"
            )
    elif plan.dataset is None:
        if plan.limits:
            raise InputError("limits are on networks that raynas builds; a trainable of your own checks its own")
    elif plan.architectures is not None:
        if plan.limits:
            raise InputError("limits are on networks that are trained one by one; a supernet holds all of its space")
        for name in plan.objective.reads:
            if name not in ONESHOT_METRICS:
                raise unknown("metric of a supernet search", name, ONESHOT_METRICS)
    else:
        for name in plan.objective.reads:
            if name not in (*METRICS, *COSTS):
                raise unknown("metric", name, (*METRICS, *COSTS))
    if plan.experiment.search["name"] == "nsga2" and len(plan.objective.goals) < 2:
        raise InputError(
            "nsga2 takes several objectives, e.g. objective={fitness: pareto, metrics: {val_accuracy: max, params: min}}"
        )


def _build_one(space: Space, dataset: Dataset) -> None:
    """Build one sampled network on the meta device: a model that cannot be built shows before anything is spent."""
    import torch

    config = space.sample(stream(0, 0))
    try:
        with torch.device("meta"):
            build(config, dataset.input_shape, dataset.classes)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"the model cannot be built from {config}: {type(error).__name__}: {error}") from error


def check_resources(plan: Plan) -> None:
    """Refuse resources that this kind of training cannot use."""
    wanted, one_by_one = plan.experiment.resources, plan.dataset is not None and plan.architectures is None
    what = "a supernet" if plan.architectures is not None else "a trainable of your own"
    if wanted.gpu == AUTO and not one_by_one and plan.table is None:
        raise InputError(f"gpu: auto measures networks that are trained one by one; say the share of {what}, e.g. 0.5")
    if plan.dataset is not None and isinstance(wanted.gpu, float) and wanted.gpu > 1:
        raise InputError(
            f"raynas trains a network on one GPU, and resources.gpu={wanted.gpu:g} would keep {wanted.gpu - 1:g} idle: a GPU or a share "
            f"a trial; several that train one network are workers (raynas train NAME --workers {wanted.gpu:g})"
        )
    if wanted.workers > 1:
        if not one_by_one:
            raise InputError(
                "several workers train a network that raynas builds, one trial at a time; resources.workers=1"
            )
        if plan.experiment.stop["name"] != "none":
            raise InputError("several workers train one trial to its end: stop is none")
        if wanted.gpu is not None and wanted.gpu != int(wanted.gpu):
            raise InputError(f"each of several workers holds whole GPUs or none, got {wanted.gpu:g}")
        if plan.timed:
            raise InputError(
                "latency is measured by one process; objective and limits go without it where workers share"
            )
        assert plan.dataset is not None
        images, validation = len(plan.dataset.train), len(plan.dataset.validation)
        for number in range(3):  # sizes of the batch that cannot be shared show here
            recipe = recipe_for(plan.experiment.training.model_dump(), plan.space.sample(stream(0, number)))
            check_parts(recipe, images, validation, wanted.workers)


def spec_of(plan: Plan) -> dict[str, Any]:
    """The experiment as data, its spaces resolved: what is stored, and what two experiments are compared by."""
    spec = plan.experiment.model_dump(mode="json")
    if plan.architectures is not None:
        spec["oneshot"] = {**spec["oneshot"], "space": plan.architectures.spec()}
    return {
        **spec,
        "space": plan.space.spec(),
        "hyperparameters": {},
        "track": without_passwords(plan.experiment.track),
    }


def differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The keys by which two specs differ, `a.b` for nested ones."""
    found = []
    for key in {**one, **other}:
        left, right = one.get(key), other.get(key)
        if key == "metrics" and isinstance(left, Mapping) and isinstance(right, Mapping):
            found += [f"{prefix}{key}"] if list(left.items()) != list(right.items()) else []  # the first is the fitness
        elif isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differences(left, right, f"{prefix}{key}.")
        elif left != right:
            found.append(f"{prefix}{key}")
    return found
