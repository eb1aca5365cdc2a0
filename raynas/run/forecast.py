"""What a search will take, before it runs: from a few candidates trained for some batches with the very resources."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from raynas.data.tabular import Table
from raynas.objectives import OBJECTIVES, broken
from raynas.rng import stream
from raynas.run.cluster import QUIET, connected, environment, grant
from raynas.run.experiment import AUTO, Experiment
from raynas.run.nodes import nodes
from raynas.run.plan import Plan, make_plan
from raynas.run.sharing import MARGIN, Sharing, measured_share
from raynas.run.simulate import Simulator
from raynas.searchers import SEARCHERS
from raynas.settings import check, construct
from raynas.space import read
from raynas.tables import InputError
from raynas.train.memory import data_bytes
from raynas.train.pace import Pace, pace
from raynas.train.share import CONTEXT, Share

PROBED = 6  # candidates
T = 2.571  # of Student's t, 95 %, PROBED - 1 degrees of freedom
SIMULATED, SEEDS = 200, 5  # trials of a simulated search at most, and how many of them
HOUR = 3600.0


@dataclass(frozen=True)
class Forecast:
    """`trials` that the budget pays for (`bound_by` which of its parts), `slots` at once with `cpu` and `gpu` each. Times in
    seconds; each `(expected, low, high)` with the 95 % interval that the few sampled candidates leave. `kept` is the share
    of all epochs that is trained in spite of early stopping. Bytes: of the dataset, of the smallest object store, of the
    largest candidate at its peak (`peak_bytes`; 0: not looked at) and of a trial's share of a GPU."""

    trials: int
    bound_by: str
    slots: int
    cpu: float
    gpu: float
    probed: int
    epochs: float
    epoch_s: tuple[float, float, float]
    trial_s: tuple[float, float, float]
    start_s: float
    stop: str
    kept: float
    wall_s: tuple[float, float, float]
    gpu_hours: tuple[float, float, float]
    cpu_hours: tuple[float, float, float]
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
    if plan.dataset is None or plan.architectures is not None:
        what = "a trainable of your own" if plan.dataset is None else "a supernet"
        raise InputError(
            f"a plan probes networks that are trained one by one; it cannot stop {what} after some batches"
        )
    if plan.experiment.resources.workers > 1:
        raise InputError("a plan probes trials of one process; leave resources.workers out")
    with environment(QUIET), connected(address):
        grant(plan.experiment.resources)
        sharing, gpu = None, plan.experiment.resources.gpu
        there = nodes()
        if gpu == AUTO or (gpu != 0 and any(node.gpu >= 1 for node in there)):
            sharing = measured_share(plan, there)
            gpu = sharing.gpu if gpu == AUTO else gpu
        wanted = plan.experiment.resources.model_copy(update={"gpu": gpu})
        resources, slots = grant(wanted)
        paces = _probe(plan, resources)
        store = round(min(node.object_store for node in there))
    return sum_up(plan, resources, slots, paces, sharing, store)


def _probe(plan: Plan, resources: dict[str, float]) -> list[Pace]:
    """Sampled candidates within the limits, as many at once as there is room, as in the search."""
    import ray

    from raynas.data.store import share as put

    assert plan.dataset is not None
    seed, configs, number = plan.experiment.seed, list[dict[str, Any]](), 0
    while len(configs) < PROBED:
        config = plan.space.sample(stream(seed, 4, number))
        number += 1
        if number > 100 * PROBED or not broken(plan.limits, plan.cost(config) or {}):
            configs.append(config)
    task = ray.remote(num_cpus=resources["cpu"], num_gpus=resources["gpu"], max_retries=0)(_pace)
    shared, training = put(plan.dataset), plan.experiment.training.model_dump()
    share = Share(resources["cpu"], resources["gpu"])
    found: list[Pace] = ray.get([task.remote(shared, config, training, share) for config in configs])
    return found


def _pace(shared: Any, config: dict[str, Any], training: dict[str, Any], share: Share) -> Pace:
    """Runs where a trial would."""
    from raynas.data.store import fetch

    return pace(config, fetch(shared), training, share.device())


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval of the mean of PROBED values."""
    mean = statistics.fmean(values)
    half = T * statistics.stdev(values) / math.sqrt(len(values))
    return mean, max(0.0, mean - half), mean + half


def kept_share(plan: Plan, trials: int, slots: int) -> float:
    """The share of all epochs that the experiment's scheduler lets train, by simulating it on trials of one pace whose order
    is the same at every epoch: the best stay the best. Real curves cross, and then a little more is trained or less."""
    if plan.experiment.stop["name"] in ("none", "pbt"):  # pbt changes trials and stops none
        return 1.0
    trials, epochs = min(trials, SIMULATED), plan.most_epochs or 1
    space = read({"number": {"randint": [0, max(2, trials)]}})
    objective = construct(OBJECTIVES["metric"], {"metric": "quality"}, "objective")
    shares = []
    for seed in range(SEEDS):
        quality = stream(seed, 5).permutation(max(2, trials)).astype(float)
        table = Table(
            name="curves that never cross",
            find=lambda config: int(config["number"]),
            epochs=tuple(range(1, epochs + 1)),
            metrics={"quality": quality[:, None] + np.linspace(0.0, 0.5, epochs)},
            seconds=np.tile(np.arange(1.0, epochs + 1), (max(2, trials), 1)),
            parameters=space.spec(),
        )
        searcher = construct(SEARCHERS["grid"], {}, "search", space, seed)
        run = Simulator(table, space, searcher, objective, plan.scheduler(), workers=slots, trials=trials).run()
        shares.append(run.steps / (trials * epochs))
    return statistics.fmean(shares)


def sum_up(
    plan: Plan, resources: dict[str, float], slots: int, paces: list[Pace], sharing: Sharing | None, store: int
) -> Forecast:
    assert plan.dataset is not None
    trial_s = interval([each.epoch_s * each.epochs for each in paces])
    cpu, gpu = resources["cpu"], resources["gpu"]
    trials, bound_by, kept = _affordable(plan, trial_s[0], slots, gpu)
    wall_s = tuple(max(trials * each * kept / slots, each) for each in trial_s)  # one trial trains to its end
    most_s = plan.experiment.budget.wall_time_s or math.inf
    total = [trials * each * kept / HOUR for each in trial_s]
    start_s = statistics.fmean(each.start_s for each in paces)
    plain = Forecast(
        trials=trials,
        bound_by=bound_by,
        slots=slots,
        cpu=cpu,
        gpu=gpu,
        probed=len(paces),
        epochs=statistics.fmean(each.epochs for each in paces),
        epoch_s=interval([each.epoch_s for each in paces]),
        trial_s=trial_s,
        start_s=start_s,
        stop=plan.experiment.stop["name"],
        kept=kept,
        wall_s=tuple(min(each + start_s, most_s) for each in wall_s),  # type: ignore[arg-type]
        gpu_hours=tuple(each * gpu for each in total),  # type: ignore[arg-type]
        cpu_hours=tuple(each * cpu for each in total),  # type: ignore[arg-type]
        saved_hours=trials * trial_s[0] * (1 - kept) / HOUR,
        data_bytes=data_bytes(plan.dataset),
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


def _affordable(plan: Plan, trial_s: float, slots: int, gpu: float) -> tuple[int, str, float]:
    """How many trials the budget pays for, by which of its parts, and the share of their epochs that is trained."""
    budget = plan.experiment.budget
    kept = kept_share(plan, budget.trials or SIMULATED, slots)
    bounds: dict[str, float] = {}
    if budget.trials is not None:
        bounds["trials"] = budget.trials
    if budget.wall_time_s is not None:
        bounds["wall_time_s"] = budget.wall_time_s * slots / (trial_s * kept)
    if budget.gpu_hours is not None and gpu:
        bounds["gpu_hours"] = budget.gpu_hours * HOUR / (gpu * trial_s * kept)
    if not bounds:
        raise InputError(
            "budget.gpu_hours alone never ends where trials use no GPU; add budget.trials or budget.wall_time_s"
        )
    name = min(bounds, key=lambda key: bounds[key])
    return max(1, int(bounds[name])), name, kept
