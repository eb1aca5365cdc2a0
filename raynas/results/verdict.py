"""The verdict of a verification: which network, how sure, and whether the search was worth its cost."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from raynas.results.database import Where
from raynas.results.intervals import (
    Contrast,
    chances_of_best,
    contrast,
    holm,
    mean_interval,
    most_likely_above,
    optimism,
    wilson,
)
from raynas.results.results import Results
from raynas.results.schema import reports, trials
from raynas.results.store import Store

ALPHA = 0.05
Kind = Literal["finalist", "random", "baseline"]


@dataclass(frozen=True)
class Network:
    """A network and its trainings, one a seed: `trials` are their numbers in the verification, `tests` the accuracies on
    the test split, `fitness` what selection may look at (higher is better), `seconds` what each took. `failed` trainings
    are in none of them. `of` is the trial of the search that it comes from."""

    label: str
    kind: Kind
    of: int | None
    config: dict[str, Any]
    params: int | None
    trials: tuple[int, ...]
    tests: tuple[float, ...]
    fitness: tuple[float, ...]
    seconds: tuple[float, ...]
    failed: int = 0

    @property
    def mean(self) -> float:
        return _mean(self.tests)

    @property
    def mean_fitness(self) -> float:
        return _mean(self.fitness)


@dataclass(frozen=True)
class Ensemble:
    """Trainings of finalists by how often each was chosen on validation; accuracies are of their mean prediction."""

    members: tuple[tuple[int, int], ...]  # (trial of the verification, times)
    val_accuracy: float
    accuracy: float


@dataclass(frozen=True)
class Scored:
    """The accuracy of one training on the `images` of the test split, between `low` and `high` with 95 % confidence."""

    trial: int
    accuracy: float
    low: float
    high: float
    images: int


@dataclass(frozen=True)
class Verdict:
    """What the trainings of a verification say. `turn` counts the verifications of this search, each of which has scored
    the test split of `images` images once a training; `search_s` is all training time of the search. Everything else
    follows from that."""

    name: str
    turn: int
    epochs: int
    images: int
    objective: str
    search_s: float
    networks: tuple[Network, ...]
    notes: tuple[str, ...] = ()
    ensemble: Ensemble | None = None

    def of_kind(self, kind: Kind) -> list[Network]:
        """The networks of a kind that trained at least once."""
        return [network for network in self.networks if network.kind == kind and network.tests]

    @property
    def step(self) -> float:
        """The finest difference of two accuracies."""
        return 1 / self.images

    def interval(self, network: Network) -> tuple[float, float]:
        """Mean test accuracy and the half width of its 95 % interval over seeds (Student's t)."""
        return mean_interval(network.tests, self.step) if network.tests else (math.nan, math.nan)

    def difference(self, one: Network, other: Network) -> Contrast:
        """How much better `one` is on the test split, over seeds (Welch)."""
        return contrast([1.0, -1.0], [one.tests, other.tests], self.step)

    @cached_property
    def best(self) -> Network | None:
        """The finalist with the highest mean on the test split."""
        return max(self.of_kind("finalist"), key=lambda network: network.mean, default=None)

    @cached_property
    def tied(self) -> list[Network]:
        """The best finalist and those that Welch's test, corrected by Holm, does not tell from it at 5 %."""
        if self.best is None:
            return []
        others = [each for each in self.of_kind("finalist") if each is not self.best]
        ps = [self.difference(self.best, each).p for each in others]
        compared = [(each, p) for each, p in zip(others, ps, strict=True) if not math.isnan(p)]
        adjusted = holm([p for _, p in compared])
        return [self.best, *(each for (each, _), p in zip(compared, adjusted, strict=True) if p > ALPHA)]

    @cached_property
    def recommended(self) -> Network | None:
        """The smallest of the tied finalists, by parameters; of equals the better."""
        size = lambda network: math.inf if network.params is None else network.params  # noqa: E731
        return min(self.tied, key=lambda network: (size(network), -network.mean), default=None)

    @cached_property
    def recommended_trial(self) -> int | None:
        """The training of the recommended network with the highest fitness on validation."""
        network = self.recommended
        if network is None:
            return None
        return max(zip(network.fitness, network.trials, strict=True), key=lambda pair: (pair[0], -pair[1]))[1]

    def score(self, trial: int) -> "Scored":
        """What one training of the verification scored on the test split, with the interval of its images alone."""
        (accuracy,) = (
            test
            for network in self.networks
            for number, test in zip(network.trials, network.tests, strict=True)
            if number == trial
        )
        return Scored(trial, accuracy, *wilson(accuracy, self.images), self.images)

    # -- search against random -----------------------------------------------------------------------------------------

    @cached_property
    def affordable(self) -> int | None:
        """How many random networks could have been trained in full for the time of the search and its finalists."""
        randoms, finalists = self.of_kind("random"), self.of_kind("finalist")
        each = _mean([_mean(network.seconds) for network in randoms])
        if not each > 0:
            return None
        return max(1, int((self.search_s + sum(_mean(network.seconds) for network in finalists)) // each))

    @cached_property
    def pick(self) -> Network | None:
        """The finalist that one would take by fitness on validation alone."""
        return max(self.of_kind("finalist"), key=lambda network: network.mean_fitness, default=None)

    @cached_property
    def against_random(self) -> Contrast | None:
        """How much better on the test split the pick of the finalists is than the pick of as many random networks as the
        search could have paid for, or as there are: both picked by fitness, over seeds. The pick of n is the mean over all
        ways to draw n of the random networks that were trained (Dodge et al., 2019, drawn without replacement)."""
        randoms = sorted(self.of_kind("random"), key=lambda network: network.mean_fitness)
        if self.pick is None or not randoms or self.affordable is None:
            return None
        chances = chances_of_best(len(randoms), min(self.affordable, len(randoms)))
        weights = [1.0, *(-chance for chance in chances)]
        return contrast(weights, [self.pick.tests, *(network.tests for network in randoms)], self.step)

    @cached_property
    def beats_random(self) -> Literal["yes", "no", "worse", "unsure"] | None:
        """Whether the search beat random networks at equal cost: "no" when it did not show it, "worse" when they beat it,
        "unsure" when it beat those that were trained, and the search's cost would have paid for more. None without any."""
        found, randoms = self.against_random, self.of_kind("random")
        if found is None or self.affordable is None or math.isnan(found.p):
            return None if found is None else "no"
        if found.p > ALPHA:
            return "no"
        if found.value < 0:
            return "worse"
        return "yes" if self.affordable <= len(randoms) else "unsure"

    # -- in words ------------------------------------------------------------------------------------------------------

    def sentences(self) -> list[str]:
        """The verdict as a person reads it, most important first."""
        from raynas.results.wording import sentences

        return sentences(self)

    def as_data(self) -> dict[str, Any]:
        """What the store holds; `verdict_from` comes back."""
        return asdict(self)

    def above(self) -> tuple[int, int]:
        """Of how many random networks the mean on the test split is above the pick's, and of how many in all."""
        randoms, pick = self.of_kind("random"), self.pick
        return sum(pick is not None and network.mean > pick.mean for network in randoms), len(randoms)

    def most_above(self) -> float:
        """The share of all random networks that may be better than the pick (95 %)."""
        return most_likely_above(*self.above())

    def images_half(self, share: float) -> float:
        """Half width of the 95 % interval that the choice of test images leaves (Wilson)."""
        low, high = wilson(share, self.images)
        return (high - low) / 2

    def optimism(self, network: Network) -> float:
        """By how much the mean of the best of the finalists may be too high for having been chosen by it."""
        among = len(self.of_kind("finalist"))
        deviation = contrast([1.0], [network.tests], self.step).half / _t975(len(network.tests))
        return optimism(deviation, among)


def _t975(count: int) -> float:
    """Half widths of an interval over `count` values in standard errors."""
    from scipy.special import stdtrit

    return float(stdtrit(count - 1, 0.975)) if count > 1 else math.nan


def _mean(values: Any) -> float:
    return float(sum(values) / len(values)) if len(values) else math.nan


def verdict_from(data: Mapping[str, Any]) -> Verdict:
    """The verdict that `as_data` wrote."""
    networks = [
        Network(**{**network, **{key: tuple(network[key]) for key in ("trials", "tests", "fitness", "seconds")}})
        for network in data["networks"]
    ]
    made = data.get("ensemble")
    ensemble = made and Ensemble(tuple((trial, times) for trial, times in made["members"]), made["val_accuracy"], made["accuracy"])  # fmt: skip
    return Verdict(**{**data, "networks": tuple(networks), "notes": tuple(data["notes"]), "ensemble": ensemble})


def collect(verification: Results) -> tuple[Network, ...]:
    """The networks of a verification with what their trainings came to."""
    store = Store.open(verification.path, row=verification.row)
    try:
        rows, heard = store.rows(trials), store.rows(reports)
        listed = store.experiment()["spec"]["verify"]["networks"]
    finally:
        store.close()
    last = {row["trial"]: row["metrics"] for row in heard}
    found = []
    for place, given in enumerate(listed):
        runs = [row for row in rows if row["origin"]["network"] == place]
        good = [row for row in runs if row["state"] == "done" and "test_accuracy" in last.get(row["number"], {})]
        found.append(
            Network(
                **given,
                params=next((row["cost"]["params"] for row in runs if row["cost"]), None),
                trials=tuple(row["number"] for row in good),
                tests=tuple(last[row["number"]]["test_accuracy"] for row in good),
                fitness=tuple(row["fitness"] for row in good),
                seconds=tuple(row["seconds"] for row in good),
                failed=sum(row["state"] == "failed" for row in runs),
            )
        )
    return tuple(found)


def latest(path: Where) -> Results | None:
    """The latest verification of the search in a store."""
    store = Store.open(path)
    try:
        rows = store.others()
    finally:
        store.close()
    return Results(path, rows[-1]) if rows else None


def read_verdict(results: Results) -> Verdict | None:
    """The verdict of the latest verification that is over; of a verification, its own."""
    store = Store.open(results.path)
    try:
        rows = store.others() if results.row is None else [results.row]
    finally:
        store.close()
    for row in reversed(rows):
        store = Store.open(results.path, row=row)
        try:
            data = store.verdict()
        finally:
            store.close()
        if data is not None:
            return verdict_from(data)
    return None
