"""A finished experiment as a table: would another searcher or scheduler have done better on the same data?"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from raynas.data.tabular import Table
from raynas.results.results import CURVE_COLUMNS, Results
from raynas.space import read
from raynas.tables import InputError


def recorded(results: Results) -> Table:
    """The trials that reported, as a table over the experiment's own space. A config that was not tried is answered by
    the nearest that was (mean distance over the decisions of the space, each in [0, 1]): the more trials, the better
    the likeness. Trials stopped early end where they were stopped."""
    curves, trials = results.curves, results.trials
    own = trials[trials["duplicate_of"].isna() & trials["number"].isin(curves["number"])]
    if len(own) < 2:
        raise InputError(f"'{results.name}' has {len(own)} trials with reports; a table needs two or more")
    space = read(results.experiment["spec"]["space"])
    points = np.array([space.encode(results.config(number)) for number in own["number"]])
    epochs = sorted(set(curves["epoch"]))
    names = [name for name in curves.columns if name not in CURVE_COLUMNS and curves[name].dtype.kind in "iuf"]
    shape = (len(own), len(epochs))
    metrics = {name: np.full(shape, np.nan) for name in names}
    seconds = np.full(shape, np.nan)
    places = {number: row for row, number in enumerate(own["number"])}
    for _, report in curves[curves["number"].isin(places)].iterrows():
        row, place = places[report["number"]], epochs.index(report["epoch"])
        seconds[row, place] = report["seconds"]
        for name in names:
            metrics[name][row, place] = report[name]

    def find(config: Mapping[str, Any]) -> int:
        return int(np.abs(points - space.encode(dict(config))).mean(axis=1).argmin())

    costs = {name: own[name].to_numpy(dtype=float) for name in ("params", "flops") if own[name].notna().all()}
    return Table(
        name=results.name,
        find=find,
        epochs=tuple(int(epoch) for epoch in epochs),
        metrics=metrics,
        seconds=np.where(np.isnan(seconds), np.nan, np.nancumsum(seconds, axis=1)),
        parameters=space.spec(),
        costs=costs,
    )
