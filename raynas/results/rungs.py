"""Rungs: how many trials came how far, and how good they were there."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from raynas.results.columns import FRAMES, typed


def milestones(stop: Mapping[str, Any], last: int) -> set[int]:
    """The epochs up to `last` at which ASHA decides: grace * reduction^k (Li et al., 2020)."""
    if stop.get("name") != "asha":
        return set()
    grace, reduction = float(stop.get("grace", 1)), float(stop.get("reduction", 3.0))
    count = int(math.log(max(last / grace, 1)) / math.log(reduction) + 1e-9) + 1
    return {epoch for k in range(count) if (epoch := math.ceil(grace * reduction**k - 1e-9)) <= last}


def rungs(trials: pd.DataFrame, curves: pd.DataFrame, stop: Mapping[str, Any]) -> pd.DataFrame:
    """One row a rung, from the reports alone: the epochs at which trials were stopped or done, and those of ASHA."""
    own = trials[trials["duplicate_of"].isna()].set_index("number")
    there = curves[curves["number"].isin(own.index)]
    if there.empty:
        return typed(pd.DataFrame({name: [] for name in FRAMES["rungs"]}), "rungs")
    reached = there.groupby("number")["epoch"].max()
    states = own["state"].reindex(reached.index)
    ends = set(reached[states.isin(["done", "stopped"])]) | milestones(stop, int(reached.max()))
    epochs = np.array(sorted(ends or {int(reached.max())}))
    at = there[there["epoch"].isin(epochs)]
    groups = at.groupby("epoch")["fitness"]
    frame = pd.DataFrame({"epoch": epochs}).set_index("epoch", drop=False).rename_axis(None)
    frame["reached"] = [int((reached >= epoch).sum()) for epoch in epochs]
    for state in ("stopped", "done"):
        frame[state] = reached[states == state].value_counts().reindex(epochs, fill_value=0)
    fell = reached.reindex(own.index[own["state"] == "failed"], fill_value=0)  # its last report, if any
    next_rung = np.minimum(np.searchsorted(epochs, fell, side="right"), len(epochs) - 1)
    frame["failed"] = np.bincount(next_rung, minlength=len(epochs))
    frame["best"], frame["median"] = groups.max(), groups.median()
    top = at.sort_values(["fitness", "number"], ascending=[False, True]).drop_duplicates("epoch").set_index("epoch")
    frame["best_trial"] = top["number"].reindex(epochs).astype("Int64")
    up_to = np.minimum(np.searchsorted(epochs, there["epoch"]), len(epochs) - 1)
    frame["seconds"] = np.bincount(up_to, there["seconds"], len(epochs))
    return typed(frame.reset_index(drop=True)[list(FRAMES["rungs"])], "rungs")
