"""Several experiments side by side, and whether one kind of search was better than another."""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from raynas.results.columns import FRAMES, typed
from raynas.results.views import best_so_far
from raynas.tables import InputError, look_up

LEVEL = 0.05  # below which a p says something


def check_comparable(found: Sequence[Any]) -> None:
    """Fitness is compared only where it is of the same objective on the same data."""
    first = found[0].experiment
    for other in (each.experiment for each in found[1:]):
        names = f"'{first['name']}' and '{other['name']}'"
        if other["spec"]["objective"] != first["spec"]["objective"]:
            one, two = first["spec"]["objective"], other["spec"]["objective"]
            raise InputError(f"the fitness of {names} is not the same thing: {one} and {two}")
        if (other["data"] or {}).get("digest") != (first["data"] or {}).get("digest"):
            raise InputError(f"{names} were trained on different data: their fitness cannot be compared")
    if len({(each.path.resolve(), each.row) for each in found}) < len(found):
        raise InputError("an experiment is named twice")


def progress(results: Any) -> pd.DataFrame:
    """One row a trial that ended, in that order, with what had been spent and found by then."""
    frame = results.trials
    own = frame[frame["duplicate_of"].isna() & frame["state"].isin(["done", "stopped", "failed"])]
    own = own.sort_values(["ended", "number"])
    spec = results.experiment["spec"]
    made = pd.DataFrame({"number": own["number"], "fitness": own["fitness"]})
    made["experiment"], made["search"] = results.name, (spec.get("search") or {}).get("name", "")
    made["seed"], made["trials"] = results.experiment["seed"], np.arange(1, len(own) + 1)
    made["seconds"] = (own["ended"] - frame["started"].min()).dt.total_seconds()
    for name in ("cpu", "gpu"):
        made[f"{name}_hours"] = (own["seconds"] * own[name].astype("float64").fillna(0.0)).cumsum() / 3600
    made["best"] = best_so_far(own)
    return typed(made[list(FRAMES["compare"])], "compare")


def compare(found: Sequence[Any]) -> pd.DataFrame:
    """The progress of all of them, one below the other."""
    check_comparable(found)
    return pd.concat([progress(each) for each in found], ignore_index=True)


def group(results: Any, by: str) -> str:
    """What an experiment has in the part `by` of its spec, in a word. Raises InputError where there is no such part."""
    value = look_up("part of an experiment", by, {"name": results.name, **results.experiment["spec"]})
    return str(value.get("name", value) if isinstance(value, dict) else value)


def _said(one: str, other: str, p: float, least: float, better: bool) -> str:
    if least > LEVEL:
        return f"too few to tell: p is at least {least:.2g} however they differ"
    if p > LEVEL:
        return f"no difference shown (p = {p:.2g})"
    return f"{one if better else other} is better (p = {p:.2g})"


def rank_test(found: Sequence[Any], by: str) -> pd.DataFrame:
    """Mann and Whitney's test (1947) between every two groups of experiments, on the best so far after as many trials as
    the shortest experiment had. `by` is a part of the spec (search, stop, space, …)."""
    from scipy.stats import mannwhitneyu

    check_comparable(found)
    curves = [progress(each)["best"].to_numpy() for each in found]
    trials = min(len(curve) for curve in curves)
    if trials == 0:
        raise InputError("an experiment has no trial that ended yet")
    best = [float(np.nan_to_num(curve[trials - 1], nan=-np.inf)) for curve in curves]  # nothing found is worse than any
    groups: dict[str, list[float]] = {}
    for each, value in zip(found, best, strict=True):
        groups.setdefault(group(each, by), []).append(value)
    if len(groups) < 2:
        raise InputError(f"all of them have the same {by}: {next(iter(groups))}")
    rows = []
    for (one, mine), (other, theirs) in combinations(groups.items(), 2):
        found_u, p = mannwhitneyu(mine, theirs, alternative="two-sided")
        least = min(1.0, 2 / math.comb(len(mine) + len(theirs), len(mine)))
        better = found_u * 2 > len(mine) * len(theirs)
        row = (one, other, len(mine), len(theirs), trials, float(np.median(mine)), float(np.median(theirs)), found_u)
        rows.append((*row, p if least <= LEVEL else None, least, _said(one, other, p, least, better)))
    return typed(pd.DataFrame(rows, columns=list(FRAMES["rank_test"])), "rank_test")
