"""Verbs on Ray Tune's own domains: draw, mutate, cross, encode, decode, contains, size, levels, show.

Every verb is a function dispatched on the kind of domain, so that a new kind is one new file. A plain domain
is seen through the unit interval: `decode(domain, u)` for u in [0, 1) reaches every value, `encode` comes back,
and a draw is the decoding of a uniform number. What is returned is valid by construction.
"""

import math
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform, Normal, Quantized, Sampler

from raynas.tables import InputError

STEP = 0.2  # standard deviation of a numeric mutation, as a share of the range
ONE_HOT = 8  # decisions of up to this many values have a feature for each
ENUMERABLE = 1_000_000  # domains with more values than this are not listed


@dataclass(frozen=True)
class Scale:
    """A numeric domain's range: both ends included; `step` None means continuous; `log` spaces it evenly in log."""

    low: float
    high: float
    step: float | None
    log: bool
    whole: bool  # values are int

    @property
    def count(self) -> int | None:
        """How many values there are; None when continuous."""
        return None if self.step is None else round((self.high - self.low) / self.step) + 1

    def value(self, index: int) -> float | int:
        """The index-th value of a stepped range."""
        assert self.step is not None
        value = self.low + index * self.step
        return round(value) if self.whole else float(f"{value:.12g}")  # 0.1 + 2 * 0.1 reads 0.3

    def index(self, value: float) -> int:
        assert self.step is not None
        return round((value - self.low) / self.step)

    def _edges(self) -> tuple[float, float]:
        """The ends in the space where the range is even; half a step wider, so that end values get a full share."""
        half = 0.0 if self.step is None else self.step / 2
        low, high = self.low - half, self.high + half
        if not self.log:
            return low, high
        return math.log(low if low > 0 else self.low / 2), math.log(high)

    def decode(self, u: float) -> float | int:
        low, high = self._edges()
        even = low + min(max(u, 0.0), 1.0) * (high - low)
        raw = math.exp(even) if self.log else even
        if self.step is None:
            return min(max(raw, self.low), self.high)
        assert self.count is not None
        return self.value(min(max(self.index(raw), 0), self.count - 1))

    def encode(self, value: float) -> float:
        low, high = self._edges()
        even = math.log(value) if self.log else value
        return 0.5 if high == low else min(max((even - low) / (high - low), 0.0), 1.0)


def scale(domain: Float | Integer) -> Scale:
    """The range of a numeric domain, with Ray's rules: whole ranges exclude their upper end unless q is over 1."""
    sampler, step = domain.get_sampler(), None
    if isinstance(sampler, Quantized):
        sampler, step = sampler.sampler, float(sampler.q)
    if isinstance(sampler, Normal) or not math.isfinite(domain.lower) or not math.isfinite(domain.upper):
        raise InputError("a normal or unbounded domain has no range to search; use uniform, loguniform or choice")
    low, high, whole = float(domain.lower), float(domain.upper), isinstance(domain, Integer)
    if step is not None and not (0 < step < math.inf and (step == int(step) or not whole)):
        raise InputError(f"q must be a positive {'whole ' if whole else ''}number, got {step}")
    if whole and step in (None, 1):
        high, step = high - 1, 1.0
    elif step is not None:
        low, high = math.ceil(low / step - 1e-9) * step, math.floor(high / step + 1e-9) * step
    return Scale(low, high, step, isinstance(sampler, LogUniform), whole)


# -- structured kinds: a domain that is made of several decisions, each a plain domain ("gene") ---------------------


@singledispatch
def genes(domain: Domain) -> dict[str, Domain]:
    """The finite plain domains that a structured domain is made of; a plain domain is its own single gene `""`."""
    return {"": domain}


@singledispatch
def to_genes(domain: Domain, value: Any) -> dict[str, Any]:
    """The gene values of `value`; `from_genes` comes back to it exactly."""
    return {"": value}


@singledispatch
def from_genes(domain: Domain, values: dict[str, Any]) -> Any:
    """The value that gene values stand for; every combination stands for a valid value."""
    return values[""]


class Drawn(Sampler):
    """Lets plain Ray Tune sample a structured domain."""

    def sample(self, domain: Any, config: Any = None, size: int = 1, random_state: Any = None) -> Any:
        rng = np.random.default_rng([int(random_state.integers(0, 2**31 - 1)) for _ in range(4)])
        values = [draw(domain, rng) for _ in range(size)]
        return values if size > 1 else values[0]


# -- the verbs -------------------------------------------------------------------------------------------------


@singledispatch
def decode(domain: Domain, u: float) -> Any:
    """The value at `u` in [0, 1] of a plain domain."""
    raise InputError(f"{type(domain).__name__} is not a domain that raynas can search")


@singledispatch
def encode(domain: Domain, value: Any) -> float:
    """Where in [0, 1] a plain domain's `value` lies; `decode` gives it back."""
    raise InputError(f"{type(domain).__name__} is not a domain that raynas can search")


@singledispatch
def draw(domain: Domain, rng: np.random.Generator) -> Any:
    """A random value."""
    return decode(domain, rng.random())


@singledispatch
def contains(domain: Domain, value: Any) -> bool:
    """Whether `value` can be drawn (Ray's own `is_valid` ignores grids and randint's open end)."""
    raise InputError(f"{type(domain).__name__} is not a domain that raynas can search")


@singledispatch
def mutate(domain: Domain, value: Any, rng: np.random.Generator) -> Any:
    """A different value near `value`; `value` itself only where the domain holds no other."""
    raise InputError(f"{type(domain).__name__} is not a domain that raynas can search")


@singledispatch
def cross(domain: Domain, one: Any, other: Any, rng: np.random.Generator) -> Any:
    """A value made of two values; for plain domains one of the two."""
    return one if rng.random() < 0.5 else other


@singledispatch
def features(domain: Domain, value: Any) -> np.ndarray:
    """(d,) float64 for predictors: one place for each value of a decision that has few, one number for any other."""
    values, parts = to_genes(domain, value), []
    for name, gene in genes(domain).items():
        place = encode(gene, values[name])
        if size(gene) <= ONE_HOT:
            parts.append(np.eye(int(size(gene)))[min(int(place * size(gene)), int(size(gene)) - 1)])
        else:
            parts.append(np.array([place]))
    return np.concatenate(parts)


@singledispatch
def size(domain: Domain) -> int | float:
    """How many values there are: exact, or infinity."""
    raise InputError(f"{type(domain).__name__} is not a domain that raynas can search")


@singledispatch
def levels(domain: Domain) -> list[Any] | None:
    """Every value in order; None when there are infinitely or too many."""
    return None


@singledispatch
def canonical(domain: Domain, value: Any) -> Any:
    """The same for all values that mean the same; `value` itself where no other does."""
    return value


@singledispatch
def show(domain: Domain) -> dict[str, Any]:
    """The domain as it is written in YAML: `{verb: arguments}`."""
    raise InputError(f"{type(domain).__name__} cannot be written down; use Ray Tune's uniform, randint, choice, …")


# -- choice ----------------------------------------------------------------------------------------------------


def _index(domain: Categorical, value: Any) -> int:
    """Where `value` stands; 1, 1.0 and True are three different categories."""
    for index, category in enumerate(domain.categories):
        if type(category) is type(value) and category == value:
            return index
    return domain.categories.index(value)


@decode.register
def _(domain: Categorical, u: float) -> Any:
    count = len(domain.categories)
    return domain.categories[min(int(u * count), count - 1)]


@encode.register
def _(domain: Categorical, value: Any) -> float:
    return (_index(domain, value) + 0.5) / len(domain.categories)


@contains.register
def _(domain: Categorical, value: Any) -> bool:
    return any(
        category == value and isinstance(category, bool) == isinstance(value, bool) for category in domain.categories
    )


@mutate.register
def _(domain: Categorical, value: Any, rng: np.random.Generator) -> Any:
    others = [category for index, category in enumerate(domain.categories) if index != _index(domain, value)]
    return others[rng.integers(len(others))] if others else value


@canonical.register
def _(domain: Categorical, value: Any) -> Any:
    return domain.categories[_index(domain, value)] if contains(domain, value) else value


@size.register
def _(domain: Categorical) -> int | float:
    return len(domain.categories)


@levels.register
def _(domain: Categorical) -> list[Any] | None:
    return list(domain.categories)


@show.register
def _(domain: Categorical) -> dict[str, Any]:
    return {"choice": list(domain.categories)}


# -- numbers ---------------------------------------------------------------------------------------------------


def _decode_number(domain: Float | Integer, u: float) -> Any:
    return scale(domain).decode(u)


def _encode_number(domain: Float | Integer, value: Any) -> float:
    return scale(domain).encode(value)


def _contains_number(domain: Float | Integer, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    numbers = scale(domain)
    slack = 0.0 if numbers.step is None else numbers.step / 2  # 3 * 0.1 lies above 0.3
    if not numbers.low - slack <= value <= numbers.high + slack:  # nan and infinities are out too
        return False
    if numbers.count is None:
        return True
    near = numbers.value(min(max(numbers.index(float(value)), 0), numbers.count - 1))
    return bool(value == near) if numbers.whole else math.isclose(near, value, rel_tol=1e-9, abs_tol=1e-12)


def _mutate_number(domain: Float | Integer, value: Any, rng: np.random.Generator) -> Any:
    numbers, push = scale(domain), abs(rng.normal(0.0, STEP))
    up = rng.random() < 0.5
    if numbers.count is None:
        u = numbers.encode(value)
        moved = numbers.decode(min(u + push, 1.0) if (up and u < 1.0) or u <= 0.0 else max(u - push, 0.0))
        return moved if moved != value or numbers.low == numbers.high else numbers.decode(0.0 if u >= 0.5 else 1.0)
    index, last = numbers.index(value), numbers.count - 1
    if last == 0:
        return value
    up = index < last if up else index == 0  # at an end there is one way to go
    room = last - index if up else index
    step = min(1 + int(push * last), room)
    return numbers.value(index + step if up else index - step)


def _canonical_number(domain: Float | Integer, value: Any) -> Any:
    """2.0 is 2 where values are whole, 1 is 1.0 where they are not, and Ray's 0.30000000000000004 is 0.3 on a grid."""
    if not contains(domain, value):
        return value
    numbers = scale(domain)
    return float(value) if numbers.step is None else numbers.value(numbers.index(value))


def _size_number(domain: Float | Integer) -> int | float:
    count = scale(domain).count
    return math.inf if count is None else count


def _levels_number(domain: Float | Integer) -> list[Any] | None:
    numbers = scale(domain)
    if numbers.count is None or numbers.count > ENUMERABLE:
        return None
    return [numbers.value(index) for index in range(numbers.count)]


def _show_number(domain: Float | Integer) -> dict[str, Any]:
    sampler, arguments, prefix = domain.get_sampler(), [domain.lower, domain.upper], ""
    if isinstance(sampler, Quantized):
        sampler, prefix = sampler.sampler, "q"
        arguments.append(domain.get_sampler().q)
    log = "log" if isinstance(sampler, LogUniform) else ""
    return {f"{prefix}{log}{'randint' if isinstance(domain, Integer) else 'uniform'}": arguments}


for _kind in (Float, Integer):
    decode.register(_kind)(_decode_number)
    encode.register(_kind)(_encode_number)
    contains.register(_kind)(_contains_number)
    mutate.register(_kind)(_mutate_number)
    canonical.register(_kind)(_canonical_number)
    size.register(_kind)(_size_number)
    levels.register(_kind)(_levels_number)
    show.register(_kind)(_show_number)
