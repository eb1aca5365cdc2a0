"""Optuna's samplers over any space, through Optuna's own ask and tell on the flat space."""

import importlib.util
import inspect
import warnings
from typing import Any

from ray.tune.search.sample import Categorical, Domain, Float, Integer

from raynas.objectives import Trial
from raynas.searchers.searcher import WARM_UP
from raynas.space import Config, Space, kinds
from raynas.tables import InputError, unknown

NEEDS = {"CmaEs": "cmaes", "GP": "scipy"}
NEEDS_MORE = ("GridSampler", "PartialFixedSampler")  # raynas has X


def distribution(domain: Domain) -> Any:
    """Optuna's distribution with the same values as a plain Ray domain."""
    from optuna import distributions

    if isinstance(domain, Categorical):
        return distributions.CategoricalDistribution(domain.categories)
    assert isinstance(domain, Float | Integer)
    reach = kinds.scale(domain)
    step = None if reach.log else reach.step  # Optuna has no log grids: values are put on the grid by `_on_grid`
    if reach.whole:
        return distributions.IntDistribution(int(reach.low), int(reach.high), log=reach.log, step=int(step or 1))
    return distributions.FloatDistribution(reach.low, reach.high, log=reach.log, step=step)


def _on_grid(domain: Domain, value: Any) -> Any:
    return kinds.decode(domain, kinds.encode(domain, value)) if isinstance(domain, Float | Integer) else value


class Optuna:
    """`sampler` is any of `optuna.samplers` (with or without "Sampler"): TPE, GP, CmaEs, NSGAII, QMC, …;
    `sampler_options` go to its constructor. Trials stopped early are told as pruned with their intermediate values,
    refused ones as pruned without any (TPE then keeps away from there), failed ones as failed."""

    def __init__(self, space: Space, seed: int, *, sampler: str = "TPE", sampler_options: dict[str, Any] | None = None):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.space, self.flat = space, space.flat()
        self.distributions = {name: distribution(domain) for name, domain in self.flat.items()}
        chosen = _sampler(sampler, seed, sampler_options or {})
        self.study = optuna.create_study(direction="maximize", sampler=chosen)
        self.pending: dict[int, Any] = {}
        self.asked = 0
        self.origin: dict[str, Any] = {}

    def ask(self) -> Config:
        trial = self.study.ask(self.distributions)
        self.pending[self.asked] = trial
        self.origin = {"operator": "optuna", "ask": self.asked}
        self.asked += 1
        return self.space.unflat({name: _on_grid(self.flat[name], value) for name, value in trial.params.items()})

    def tell(self, trial: Trial) -> None:
        from optuna.trial import TrialState

        if trial.origin.get("operator") == WARM_UP:
            self.study.add_trial(self._on_record(trial))
            return
        mine = self.pending.pop(trial.origin["ask"])
        asked = self.space.unflat({name: _on_grid(self.flat[name], value) for name, value in mine.params.items()})
        if asked != trial.config:  # on record with another config: another version of Optuna asked
            self.study.tell(mine, state=TrialState.FAIL)
            self.study.add_trial(self._on_record(trial))
            return
        for epoch, fitness in trial.curve:
            mine.report(fitness, epoch)
        state = state_of(trial)
        self.study.tell(mine, trial.fitness if state == TrialState.COMPLETE else None, state)

    def _on_record(self, trial: Trial) -> Any:
        """A told trial as Optuna keeps it, made from its config."""
        from optuna.trial import TrialState, create_trial

        state = state_of(trial)
        return create_trial(
            state=state,
            value=trial.fitness if state == TrialState.COMPLETE else None,
            params=self.space.flatten(trial.config),
            distributions=self.distributions,
            intermediate_values=dict(trial.curve),
        )


def state_of(trial: Trial) -> Any:
    """How a trial ended, in Optuna's words."""
    from optuna.trial import TrialState

    if trial.state in ("stopped", "refused"):
        return TrialState.PRUNED
    return TrialState.FAIL if trial.fitness is None else TrialState.COMPLETE


def _sampler(name: str, seed: int, given: dict[str, Any]) -> Any:
    import optuna

    known = {
        item.removesuffix("Sampler"): getattr(optuna.samplers, item)
        for item in optuna.samplers.__all__
        if item.endswith("Sampler") and item not in ("BaseSampler", *NEEDS_MORE)
    }
    short = name.removesuffix("Sampler")
    if short not in known:
        raise unknown("Optuna sampler", name, known)
    accepted = inspect.signature(known[short]).parameters
    for option in given:
        if option not in accepted:
            raise unknown(f"option of {short}Sampler", option, accepted)
    if short in NEEDS and importlib.util.find_spec(NEEDS[short]) is None:
        raise InputError(f"Optuna's {short}Sampler needs the package '{NEEDS[short]}': pip install {NEEDS[short]}")
    defaults = {"seed": seed} | ({"constant_liar": True} if short == "TPE" else {})  # running trials count as bad
    try:
        return known[short](**{name: value for name, value in defaults.items() if name in accepted} | given)
    except (ImportError, TypeError, ValueError) as error:
        raise InputError(f"cannot make Optuna's {short}Sampler: {error}") from error
