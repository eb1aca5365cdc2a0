"""How sure: intervals and tests of a few means, in closed form."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv, ndtr, stdtr, stdtrit

Z = 1.96  # of a 95 % interval


def wilson(share: float, count: int, z: float = Z) -> tuple[float, float]:
    """The score interval of a share of `count` independent trials (Wilson, 1927)."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


class Contrast(NamedTuple):
    """A weighted sum of means: its 95 % interval is `value` ± `half`, `p` is that of a sum of zero (two-sided)."""

    value: float
    half: float
    p: float


def contrast(weights: Sequence[float], samples: Sequence[Sequence[float]], step: float = 0.0) -> Contrast:
    """The sum of `weights` times the means of independent normal samples, variances unequal (Welch, 1947): Student's t with
    the degrees of freedom of Welch and Satterthwaite. `step` is the finest difference that the values can show: samples
    that are all equal are taken to vary within it. Half and p are not numbers where a sample has less than two values."""
    used = [(weight, np.asarray(each, float)) for weight, each in zip(weights, samples, strict=True) if weight]
    value = float(sum(weight * each.mean() for weight, each in used))
    if any(len(each) < 2 for _, each in used):
        return Contrast(value, math.nan, math.nan)
    parts = [weight**2 * max(each.var(ddof=1), step**2 / 12) / len(each) for weight, each in used]
    variance = float(sum(parts))
    if variance == 0:
        return Contrast(value, 0.0, float(value == 0))
    freedom = variance**2 / sum(part**2 / (len(each) - 1) for part, (_, each) in zip(parts, used, strict=True))
    error = math.sqrt(variance)
    return Contrast(value, float(stdtrit(freedom, 0.975)) * error, float(2 * stdtr(freedom, -abs(value) / error)))


def mean_interval(values: Sequence[float], step: float = 0.0) -> tuple[float, float]:
    """Mean and half width of its 95 % interval (Student's t); the half is no number for one value."""
    found = contrast([1.0], [values], step)
    return found.value, found.half


def holm(ps: Sequence[float]) -> list[float]:
    """p values corrected for how many there are (Holm, 1979), in the order given."""
    adjusted, highest = [math.nan] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = highest
    return adjusted


def chances_of_best(count: int, drawn: int) -> list[float]:
    """Of `count` things in ascending order, how likely each is the best of `drawn` of them, drawn without replacement."""
    return [math.comb(below, drawn - 1) / math.comb(count, drawn) for below in range(count)]


def most_likely_above(above: int, count: int) -> float:
    """The largest share of a population that may lie above, with 95 % confidence, when `above` of `count` random ones do
    (Clopper & Pearson, 1934; one-sided)."""
    return 1.0 if above >= count else float(betaincinv(above + 1, count - above, 0.95))


def expected_largest(count: int) -> float:
    """Of `count` standard normal numbers, the largest on average: its distribution, integrated by parts."""
    x = np.linspace(-9.0, 9.0, 3601)
    return float(np.trapezoid(np.heaviside(x, 0.5) - ndtr(x) ** count, x))


def optimism(error: float, among: int) -> float:
    """By how much the highest of `among` equal means lies too high on average, each with standard error `error`."""
    return error * expected_largest(among)
