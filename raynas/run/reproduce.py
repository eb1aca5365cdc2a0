"""One row again, from its record: a fresh training of the same config, seed and recipe, and its curve beside the old one."""

import math
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas.data.tabular import is_tabular
from raynas.objectives import Trial
from raynas.results import Store
from raynas.results.database import Where
from raynas.results.results import Results
from raynas.results.schema import reports
from raynas.results.schema import trials as trial_rows
from raynas.run.again import resources_there, train_again
from raynas.run.cluster import QUIET, chatter_to, connected, environment
from raynas.run.experiment import Experiment
from raynas.run.fingerprint import fingerprints
from raynas.run.folders import STORE, locked, open_results
from raynas.run.launch import data_row
from raynas.run.plan import Plan, make_plan
from raynas.settings import check
from raynas.tables import InputError

TOLERANCE = 0.02
SCRATCH = "reproduce-"  # what folders of second trainings begin with
TIMED = re.compile(r"latency|simulated_s$|_per_s$|(^|_)(time|seconds|ms)$|_s$")  # metrics that a clock has measured
CALLED = {"code": "raynas's own code", "user_code": "the file of the training function"}
Curve = dict[int, dict[str, Any]]  # by epoch


@dataclass(frozen=True)
class Compared:
    """A metric in both curves: `largest` is its largest difference, at `epoch`, as a share of the recorded value where that is over
    1; infinite where one curve has a value and the other none, or another text."""

    metric: str
    largest: float
    epoch: int
    recorded: Any
    again: Any


@dataclass(frozen=True)
class Reproduction:
    """A trial trained again. `differences` is what is not as it was when it ran (code, versions, machine, data, resources);
    `compared` the metrics over `epochs` epochs, largest difference first; `error` why the second training ended early."""

    name: str
    trial: int
    epochs: int
    differences: tuple[str, ...]
    compared: tuple[Compared, ...]
    ignored: tuple[str, ...]
    tolerance: float
    error: str | None = None

    @property
    def identical(self) -> bool:
        """Whether the curves are equal to the last bit."""
        return self.error is None and all(each.largest == 0 for each in self.compared)

    @property
    def within(self) -> bool:
        """Whether every metric stayed within the tolerance at every epoch."""
        return self.error is None and all(each.largest <= self.tolerance for each in self.compared)

    def __str__(self) -> str:
        over = f"{len(self.compared)} metrics over {self.epochs} epoch{'s' if self.epochs > 1 else ''}"
        if self.error is not None:
            return f"not reproduced: {self.error.strip().splitlines()[-1]}"
        if self.identical:
            return f"bit-identical: {over}"
        verdict = "reproduced within" if self.within else "not reproduced within"
        return f"{verdict} a tolerance of {self.tolerance:g}, not bit-identical: {over}"


def reproduce(
    results: Results | str | Path,
    trial: int,
    trainable: Callable[..., Any] | None = None,
    *,
    data: Any = None,
    tolerance: float = TOLERANCE,
    home: str | Path | None = None,
    data_dir: str | Path | None = None,
    address: str | None = None,
) -> Reproduction:
    """Train a trial again from its record, up to the epoch that it reached, and compare every report; the experiment's store
    stays as it is.

    On the same CPU with the same threads and versions the curves are equal to the last bit; elsewhere numbers may differ by
    `tolerance` (of the recorded value, where that is over 1). What a clock measures is not compared. `trainable` and `data`
    are needed where the search was given a function that cannot be imported, or arrays.
    """
    if not (tolerance >= 0 and math.isfinite(tolerance)):
        raise InputError(f"a tolerance is a number from 0 on, got {tolerance}")
    results = results if isinstance(results, Results) else open_results(results, home)
    if results.row is not None:
        raise InputError(
            f"'{results.name}' is a verification; trials that can be trained again are those of its search"
        )
    row = _reproducible(results, trial)
    recorded = _curve(results.path, trial)
    if not recorded:
        raise InputError(
            f"trial {trial} of '{results.name}' is {row['state']} and has reported nothing: nothing to compare"
        )
    plan = _plan(results, trainable, data, data_dir)
    with ExitStack() as stack:
        stack.enter_context(environment(QUIET))
        stack.enter_context(connected(address))
        resources, less = resources_there(row["resources"])
        results.folder.mkdir(parents=True, exist_ok=True)  # a database knows experiments that began in another home
        _clear(results.folder)
        scratch = Path(
            tempfile.mkdtemp(prefix=SCRATCH, dir=results.folder)
        ).resolve()  # where all machines of the trial look
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        stack.enter_context(locked(scratch))
        stack.enter_context(chatter_to(scratch / "ray.log"))
        ended = train_again(plan, row, resources, scratch, max(recorded))
        again = _curve(scratch / STORE, trial)
    timed = {"fitness"} if any(TIMED.search(name) for name in plan.objective.reads) else set()
    names = dict.fromkeys(name for report in recorded.values() for name in report)
    ignored = tuple(name for name in names if name in timed or TIMED.search(name))
    return Reproduction(
        results.name,
        trial,
        len(recorded),
        (*_changes(results, plan), *less),
        _compare({epoch: _without(report, ignored) for epoch, report in recorded.items()}, again),
        ignored,
        tolerance,
        _shortfall(ended, recorded, again),
    )


def _clear(folder: Path) -> None:
    """Remove what second trainings left behind that were killed; who is at work holds the lock of its own."""
    for leftover in folder.glob(f"{SCRATCH}*"):
        with suppress(InputError), locked(leftover):
            shutil.rmtree(leftover, ignore_errors=True)


# -- the record ------------------------------------------------------------------------------------------------------


def _rows(path: Where, table: Any) -> list[dict[str, Any]]:
    store = Store.open(path)
    try:
        return store.rows(table)
    finally:
        store.close()


def _reproducible(results: Results, number: int) -> dict[str, Any]:
    """The row of a trial that can be trained again alone."""
    row = next((row for row in _rows(results.path, trial_rows) if row["number"] == number), None)
    spec = results.experiment["spec"]
    if row is None:
        raise InputError(f"'{results.name}' has no trial {number}")
    if row["duplicate_of"] is not None:
        raise InputError(
            f"trial {number} was not trained: trial {row['duplicate_of']} is the same network and answered it; reproduce that one"
        )
    if row["state"] == "refused":
        raise InputError(f"trial {number} was not trained, a limit refused it: {row['error']}")
    if is_tabular(spec["data"]):
        raise InputError(f"'{results.name}' looked its trials up in a table: nothing was trained")
    if spec["stop"]["name"] == "pbt":
        raise InputError(
            f"'{results.name}' is population based training: its trials took over weights and settings of others on the way, "
            "and none can be trained again alone"
        )
    return row


def _curve(path: Where, number: int) -> Curve:
    """What a trial has reported, by epoch."""
    return {
        row["epoch"]: {**row["metrics"], "fitness": row["fitness"]}
        for row in _rows(path, reports)
        if row["trial"] == number
    }


def _plan(results: Results, trainable: Callable[..., Any] | None, data: Any, data_dir: str | Path | None) -> Plan:
    """The recorded experiment without what does not touch a trial: searcher, stopping, limits, trackers."""
    aside = {"search": "random", "stop": "none", "limits": [], "track": [], "budget": {"trials": 1}}
    spec = {**results.experiment["spec"], **aside}
    experiment = check(Experiment, spec, "experiment")
    if experiment.data == "(arrays)" and data is None:
        raise InputError(
            f"'{results.name}' was searched on arrays: from Python, raynas.reproduce(name, trial, data=(images, labels))"
        )
    if (experiment.trainable or "").startswith("__main__:") and trainable is None:
        raise InputError(
            f"'{results.name}' trains by a function of a script: from Python, raynas.reproduce(name, trial, function)"
        )
    return make_plan(experiment, function=trainable, arrays=data, data_dir=data_dir)


def _changes(results: Results, plan: Plan) -> list[str]:
    """What is no longer as it was when the experiment began."""
    before, now = results.experiment["fingerprints"] or {}, fingerprints(plan.function)
    pairs = {**_flat(before), "data": (results.experiment["data"] or {}).get("digest")}
    current = {**_flat(now), "data": (data_row(plan) or {}).get("digest")}
    return [
        f"{name}: {_short(value)} then, {_short(current.get(name))} now"
        for name, value in pairs.items()
        if value != current.get(name) and value is not None
    ]


def _flat(found: Mapping[str, Any]) -> dict[str, Any]:
    versions = found.get("versions", {})
    return {**versions, **{CALLED.get(name, name): value for name, value in found.items() if name != "versions"}}


def _short(value: Any) -> str:
    """Hashes by their first digits."""
    text = "none" if value is None else str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{40,}", text) else text


# -- comparing -------------------------------------------------------------------------------------------------------


def _without(report: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name not in names}


def _compare(recorded: Curve, again: Curve) -> tuple[Compared, ...]:
    """The largest difference of each metric, over the epochs that both have."""
    found: dict[str, Compared] = {}
    for epoch, report in recorded.items():
        for name, value in report.items() if epoch in again else ():
            other = again[epoch].get(name)
            each = Compared(name, _difference(value, other), epoch, value, other)
            if name not in found or each.largest > found[name].largest:
                found[name] = each
    return tuple(sorted(found.values(), key=lambda each: -each.largest))


def _difference(one: Any, other: Any) -> float:
    if one == other:
        return 0.0
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) / max(1.0, abs(one))
    return math.inf


def _shortfall(ended: Trial, recorded: Curve, again: Curve) -> str | None:
    """Why the second training has not reported every epoch of the first."""
    missing = sorted(recorded.keys() - again.keys())
    if not missing:
        return None
    return f"epoch {missing[0]} was not reached, the training {ended.state}: {ended.error or 'it reported no more'}"
