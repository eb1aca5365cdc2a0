"""What a search will take, before it runs: from a few candidates trained for some batches with the very resources."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from raynas.results.intervals import contrast
from raynas.run.cluster import QUIET, check_ends, connected, environment, grant
from raynas.run.course import SIMULATED, Course, course
from raynas.run.experiment import AUTO, Experiment
from raynas.run.nodes import nodes
from raynas.run.paces import probe, together
from raynas.run.plan import Plan, make_plan
from raynas.run.sharing import MARGIN, Sharing, measured_share
from raynas.settings import check
from raynas.tables import InputError
from raynas.train.memory import data_bytes
from raynas.train.pace import MOST_S, Pace
from raynas.train.share import CONTEXT

HOUR = 3600.0
Span = tuple[float, float, float]


@dataclass(frozen=True)
class Forecast:
    """`trials` that the budget pays for (`bound_by` which of its parts; `trials_between` the ends of their interval), `slots`
    at once with `cpu` and `gpu` each. Times in seconds; each `(expected, low, high)` with the 95 % interval that the few
    sampled candidates leave, timed `together` at once. `kept` is the share of all epochs that is trained in spite of early
    stopping. Bytes: of the dataset (0: the training's own), of the smallest object store, of the largest candidate at its
    peak (`peak_bytes`; 0: not looked at) and of a trial's share of a GPU."""

    trials: int
    trials_between: tuple[int, int]
    bound_by: str
    slots: int
    cpu: float
    gpu: float
    probed: int
    together: int
    epochs: float
    epoch_s: Span
    trial_s: Span
    start_s: float
    stop: str
    kept: float
    wall_s: Span
    gpu_hours: Span
    cpu_hours: Span
    saved_hours: float  # of a slot, by early stopping
    data_bytes: int
    object_store_bytes: int
    peak_bytes: int
    share_bytes: int
    estimated: bool  # the peak
    sharing: str = ""

    def row(self) -> dict[str, Any]:
        return asdict(self)


def forecast(spec: Mapping[str, Any], *, data_dir: str | Path | None = None, address: str | None = None) -> Forecast:
    """Check an experiment as `launch` does, probe it on Ray, and say what it will take. Nothing is written."""
    plan = make_plan(check(Experiment, spec, "experiment"), data_dir=data_dir)
    if plan.table is not None:
        raise InputError("trials of a table take no time: raynas simulate says what a search on it would do")
    if plan.architectures is not None:
        raise InputError(
            "a plan probes trainings that report epoch by epoch; it cannot stop a supernet after some batches"
        )
    if plan.experiment.resources.workers > 1:
        raise InputError("a plan probes trials of one process; leave resources.workers out")
    with environment(QUIET), connected(address):
        grant(plan.experiment.resources)
        sharing, gpu = None, plan.experiment.resources.gpu
        there = nodes()
        if plan.dataset is not None and (gpu == AUTO or (gpu != 0 and any(node.gpu >= 1 for node in there))):
            sharing = measured_share(plan, there)
            gpu = sharing.gpu if gpu == AUTO else gpu
        wanted = plan.experiment.resources.model_copy(update={"gpu": gpu})
        resources, slots = grant(wanted)
        check_ends(plan.experiment.budget, resources["gpu"])
        most = together(there, resources["cpu"], resources["gpu"], slots, plan.experiment.budget.trials)
        paces, at_once = probe(plan, there, resources, most)
        store = round(min(node.object_store for node in there))
    return sum_up(plan, resources, slots, paces, sharing, store, at_once)


def interval(values: list[float]) -> Span:
    """Mean of a sample of durations and the 95 % interval of it (Student's t). Its lower end is no less than the shortest:
    that all of six are above the median has a chance of 1 in 64."""
    mean = statistics.fmean(values)
    half = contrast([1.0], [values]).half
    return mean, max(min(values), mean - half), mean + half


def sum_up(
    plan: Plan,
    resources: dict[str, float],
    slots: int,
    paces: list[Pace],
    sharing: Sharing | None,
    store: int,
    at_once: int = 1,
) -> Forecast:
    """From what was found to what is said. Raises InputError where nobody knows how long a trial is."""
    if not all(each.epochs for each in paces):
        raise InputError(
            f"a trial reports on after {MOST_S:g} s, and nothing says how many epochs it has: --epochs N (of a plan only), "
            "or stop.max_epochs=N"
        )
    cpu, gpu = resources["cpu"], resources["gpu"]
    trial_s = interval([each.epoch_s * each.epochs for each in paces])
    start_s, epochs = (
        statistics.fmean(values) for values in zip(*((each.start_s, each.epochs) for each in paces), strict=True)
    )
    runs = course(plan, plan.experiment.budget.trials or SIMULATED, slots, round(epochs))
    used = [use(plan, each, slots, gpu, runs) for each in trial_s]
    plain = Forecast(
        trials=used[0].trials,
        trials_between=(used[2].trials, used[1].trials),
        bound_by=used[0].bound_by,
        slots=slots,
        cpu=cpu,
        gpu=gpu,
        probed=len(paces),
        together=at_once,
        epochs=epochs,
        epoch_s=interval([each.epoch_s for each in paces]),
        trial_s=trial_s,
        start_s=start_s,
        stop=plan.experiment.stop["name"],
        kept=runs.kept,
        wall_s=_span([min(each.wall_s + start_s, _most(plan.experiment.budget.wall_time_s)) for each in used]),
        gpu_hours=_span([each.slot_s * gpu / HOUR for each in used]),
        cpu_hours=_span([each.slot_s * cpu / HOUR for each in used]),
        saved_hours=used[0].trials * trial_s[0] * (1 - runs.kept) / HOUR,
        data_bytes=0 if plan.dataset is None else data_bytes(plan.dataset),
        object_store_bytes=store,
        peak_bytes=0,
        share_bytes=0,
        estimated=False,
    )
    if sharing is None or not sharing.candidates:
        return plain
    said = str(sharing) if plan.experiment.resources.gpu == AUTO else ""
    needed = round(sharing.peak_bytes * MARGIN) + (0 if sharing.estimated else CONTEXT)
    return replace(
        plain,
        peak_bytes=needed,
        share_bytes=round(sharing.free_bytes * min(1.0, gpu)),
        estimated=sharing.estimated,
        sharing=said,
    )


@dataclass(frozen=True)
class Use:
    """What a search takes whose trials are of one pace: `slot_s` are seconds of training, over all slots."""

    trials: int
    bound_by: str
    slot_s: float
    wall_s: float


def use(plan: Plan, trial_s: float, slots: int, gpu: float, runs: Course) -> Use:
    """How many trials the budget pays for, by which of its parts, and what these take; no more than the budget has."""
    budget, kept_s = plan.experiment.budget, trial_s * runs.kept
    most_s = _most(budget.gpu_hours) * HOUR / gpu if gpu else math.inf  # over all slots
    bounds = {
        "trials": float(_most(budget.trials)),
        "wall_time_s": _most(budget.wall_time_s) * slots / kept_s,
        "gpu_hours": most_s / kept_s,
    }
    name = min(bounds, key=lambda key: bounds[key])
    trials = max(1.0, bounds[name])
    wall_s = min(runs.span(trials, slots) * trial_s, most_s, _most(budget.wall_time_s))
    slot_s = min(trials * kept_s, most_s, _most(budget.wall_time_s) * slots)
    return Use(int(trials + 1e-9), name, slot_s, wall_s)


def _most(amount: float | None) -> float:
    """What a budget has of something, endless where it does not say."""
    return math.inf if amount is None else amount


def _span(values: list[float]) -> Span:
    return values[0], min(values), max(values)
