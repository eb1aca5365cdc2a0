"""Ray's schedulers by name, and the rebuilding of their state from the store."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field
from ray.tune import schedulers
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search.sample import Categorical, Domain

from raynas.results import Asked, Heard, Told
from raynas.space import kinds
from raynas.tables import InputError
from raynas.train.recipe import Recipe

RULER: dict[str, Any] = {"time_attr": "epoch", "metric": "fitness", "mode": "max"}
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Work:
    """What a scheduler must know of the search: the most epochs of a trial (None: unknown), the parameters that may
    change while a trial trains, and whether trials can be paused and copied."""

    epochs: int | None
    adjustable: dict[str, Domain]
    has_checkpoints: bool

    def most_epochs(self, said: int | None) -> int:
        if said is None and self.epochs is None:
            raise InputError("say how many epochs a trial has at most, e.g. stop.max_epochs=20")
        return said or self.epochs or 1


def none(work: Work) -> TrialScheduler:
    """Every trial trains to its end."""
    return FIFOScheduler()


def asha(
    work: Work,
    *,
    grace: Count = 1,
    reduction: Annotated[float, Field(gt=1)] = 3.0,
    max_epochs: Count | None = None,
) -> TrialScheduler:
    """Asynchronous successive halving (Li et al., 2020), the stopping variant: at epochs grace * reduction^k a trial stops
    unless it is in the best 1/reduction of those that came so far."""
    most = work.most_epochs(max_epochs)
    if grace > most:
        raise InputError(f"grace ({grace}) must not be more than the epochs of a trial ({most})")
    inner = schedulers.ASHAScheduler(**RULER, max_t=most, grace_period=grace, reduction_factor=reduction)
    return ByNumber(inner)


def median(work: Work, *, grace: Count = 1, min_trials: Count = 3) -> TrialScheduler:
    """The median stopping rule (Golovin et al., 2017): a trial stops when its best is below the median of the others'
    means so far."""
    never = float("inf")  # it would pause trials to let others catch up
    inner = schedulers.MedianStoppingRule(
        **RULER,
        grace_period=grace,
        min_samples_required=min_trials,
        min_time_slice=never,
    )
    return ByNumber(inner)


def hyperband(
    work: Work, *, reduction: Annotated[float, Field(gt=1)] = 3.0, max_epochs: Count | None = None
) -> TrialScheduler:
    """Hyperband (Li et al., 2018), synchronous: trials of a bracket wait for each other, paused."""
    _must_pause(work, "hyperband")
    most = work.most_epochs(max_epochs)
    return schedulers.HyperBandScheduler(**RULER, max_t=most, reduction_factor=reduction)


def pbt(work: Work, *, interval: Count = 1, quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.25) -> TrialScheduler:
    """Population based training (Jaderberg et al., 2017): every `interval` epochs the worst take over the weights of the
    best, with changed hyperparameters."""
    _must_pause(work, "pbt")
    if not work.adjustable:
        fields = ", ".join(sorted(Recipe.model_fields))
        raise InputError(f"pbt changes hyperparameters while trials train, and the space varies none of {fields}")
    given = {name: _for_pbt(domain) for name, domain in work.adjustable.items()}
    changes = {"trial": {"config": given}}
    scheduler = _WithSearcher(
        **RULER, perturbation_interval=interval, quantile_fraction=quantile, hyperparam_mutations=changes
    )
    scheduler.domains = dict(work.adjustable)
    return scheduler


def _for_pbt(domain: Domain) -> Any:
    """Ray multiplies the value of any domain; of a list it takes a neighbour."""
    return list(domain.categories) if isinstance(domain, Categorical) else domain


class _WithSearcher(schedulers.PopulationBasedTraining):
    """Ray's PBT refuses any searcher, for it would hear of changed configs; the ledger knows of them."""

    domains: dict[str, Domain]

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The other trial's config, changed and put back into the space (Ray's factors leave it), for this trial."""
        changed, operations = super()._get_new_config(trial, trial_to_clone)
        config = changed["trial"]["config"]
        for name, domain in self.domains.items():
            config[name] = kinds.decode(domain, kinds.encode(domain, config[name]))
        return {**changed, "trial": {**trial.config["trial"], "config": config}}, operations

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        super().on_trial_add(_Alone(tune_controller), trial)


class _Alone:
    """A controller that shows no searcher."""

    search_alg = None

    def __init__(self, controller: Any):
        self._controller = controller

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)


SCHEDULERS: dict[str, Callable[..., TrialScheduler]] = {
    "none": none,
    "asha": asha,
    "hyperband": hyperband,
    "median": median,
    "pbt": pbt,
}
WAITING = ("hyperband", "pbt")
"""Those that pause trials: all trials of the budget are out at once and take turns."""


def _must_pause(work: Work, name: str) -> None:
    if not work.has_checkpoints:
        raise InputError(f"{name} pauses and copies trials: the training function must take (config, checkpoint)")


def adjustable(domains: dict[str, Domain], all_of_them: bool) -> dict[str, Domain]:
    """The parameters that may change while a trial trains: those of the recipe, or all plain ones of an own loop."""
    fixed = ("epochs", "precision", "optimizer", "batch_size")  # the optimizer's state is of one optimizer
    return {
        name: domain
        for name, domain in domains.items()
        if list(kinds.genes(domain)) == [""] and (all_of_them or (name in Recipe.model_fields and name not in fixed))
    }


@dataclass(frozen=True, eq=False)
class _Seen:
    """What ASHA and the median rule use of a trial."""

    trial_id: str


class _Still:
    """Stands for the controller: there is nothing to pause."""

    def get_live_trials(self) -> set[Any]:
        return set()


class ByNumber(FIFOScheduler):
    """A stopping scheduler that knows trials by their number: the same before and after a resume."""

    def __init__(self, inner: TrialScheduler):
        super().__init__()
        self.inner, self.seen = inner, dict[int, _Seen]()

    @property
    def metric(self) -> str:
        return "fitness"

    def _known(self, number: int) -> _Seen:
        if number not in self.seen:
            self.seen[number] = _Seen(f"{number:05d}")
            self.inner.on_trial_add(_Still(), self.seen[number])
        return self.seen[number]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._known(trial.config["trial"]["number"])

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return self.result(trial.config["trial"]["number"], result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self.complete(trial.config["trial"]["number"], result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        pass

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        pass

    def result(self, number: int, result: dict[str, Any]) -> str:
        return self.inner.on_trial_result(_Still(), self._known(number), result)

    def complete(self, number: int, result: dict[str, Any]) -> None:
        if "fitness" in result:  # a failed trial has none, and the rules would stumble over it
            self.inner.on_trial_complete(_Still(), self._known(number), result)

    def replay(self, history: Iterable[Asked | Heard | Told]) -> None:
        """Tell the scheduler what it heard before the kill, in the same order."""
        last: dict[int, dict[str, Any]] = {}
        finals = {
            event.trial.number: event.trial.epoch
            for event in history
            if isinstance(event, Told) and event.trial.state == "done"
        }
        for event in history:
            if isinstance(event, Heard):
                last[event.number] = {"epoch": event.epoch, "fitness": event.fitness}
                if finals.get(event.number) != event.epoch:  # Tune tells a last report as the end only
                    self.result(event.number, last[event.number])
            elif (
                isinstance(event, Told)
                and event.trial.state in ("done", "stopped")
                and event.trial.duplicate_of is None
            ):
                self.complete(event.trial.number, last[event.trial.number])
