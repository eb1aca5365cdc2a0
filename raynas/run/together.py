"""One trial on several workers, by Ray Train: for a network that is worth more than one GPU."""

import tempfile
import threading
import time
from typing import Any

from raynas.objectives import Diverged, Trial
from raynas.results import Store
from raynas.results.schema import trials
from raynas.run.broken_workers import failure_of
from raynas.run.ledger import Ledger
from raynas.run.plan import Plan
from raynas.run.progress import View
from raynas.train.network import NetworkTraining

LOOK_S = 0.1  # between two looks at what came in


class Inbox:
    """An actor between the first worker and the driver: reports one way, whether to go on the other."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.wanted, self.begun = True, False

    def begin(self) -> None:
        self.begun = True

    def put(self, report: dict[str, Any]) -> bool:
        self.reports.append(report)
        return self.wanted

    def take(self) -> list[dict[str, Any]]:
        reports, self.reports = self.reports, []
        return reports

    def let_go(self) -> bool:
        """Whether there are workers, who will hear of it at their next report."""
        self.wanted = False
        return self.begun


def _work(given: dict[str, Any]) -> None:
    """What every worker runs."""
    import ray
    import torch
    import torch.distributed as dist
    from ray.train.torch import get_device

    from raynas.train.parallel import train_part

    torch.set_num_threads(max(1, int(given["cpu"])))
    device = get_device()
    if dist.get_rank() == 0:
        ray.get(given["inbox"].begin.remote())
    began = time.perf_counter()
    for metrics in train_part(given["training"], given["config"], given["checkpoint"], given["seed"], device):
        go_on = torch.ones(1, device=device)
        if dist.get_rank() == 0:
            seconds, began = time.perf_counter() - began, time.perf_counter()
            report = {"metrics": metrics, "seconds": seconds, "node": ray.util.get_node_ip_address()}
            go_on *= ray.get(given["inbox"].put.remote(report))
        dist.broadcast(go_on, 0)  # all or none: one that stayed would wait for the others' gradients
        if not go_on.item():
            return


class _Fit(threading.Thread):
    """Ray Train's `fit`, beside the driver's own loop."""

    def __init__(self, trainer: Any):
        super().__init__(daemon=True)
        self.trainer = trainer
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.trainer.fit()
        except BaseException as error:
            self.error = error


def train_together(plan: Plan, ledger: Ledger, view: View, training: NetworkTraining) -> None:
    """Run the ledger's trials one after the other, each on all workers."""
    import ray

    with tempfile.TemporaryDirectory(prefix="tune-", dir=ledger.folder, ignore_cleanup_errors=True) as scratch:
        while not isinstance(trial := ledger.next(), str):
            inbox = _inbox()
            fit = _Fit(_trainer(ledger, trial, training, inbox, scratch))
            fit.start()
            _follow(plan, ledger, trial, view, fit, inbox)
            ray.kill(inbox)


def retry_failed(store: Store) -> None:
    """Have trials that failed, but did not diverge, run again from the checkpoints that they kept: those that nothing was
    asked after, so that the searcher need not unlearn what it built on."""
    rows = store.rows(trials)
    last = max((row["asked"] for row in rows), default=0)
    for row in rows:
        if row["state"] == "failed" and row["failure"] != "diverged" and row["told"] > last:
            store.set_trial(row["number"], state="queued", failure=None, error=None, told=None, ended=None)


def _inbox() -> Any:
    """An Inbox on the driver's node: with any other node only the workers there are lost."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0)(Inbox).options(scheduling_strategy=here).remote()


def _trainer(ledger: Ledger, trial: Trial, training: NetworkTraining, inbox: Any, scratch: str) -> Any:
    from ray import train
    from ray.train.torch import TorchTrainer

    cpu, gpu = ledger.resources["cpu"], ledger.resources["gpu"]
    given = {
        "training": training,
        "config": trial.config,
        "checkpoint": ledger.checkpoint(trial),
        "seed": trial.seed,
        "cpu": cpu,
        "inbox": inbox,
    }
    each = {"CPU": cpu, "GPU": gpu} if gpu else {"CPU": cpu}
    return TorchTrainer(
        _work,
        train_loop_config=given,
        scaling_config=train.ScalingConfig(
            num_workers=int(ledger.resources["workers"]), use_gpu=gpu > 0, resources_per_worker=each
        ),
        # Ray waits for ever for the nodes and GPUs of all workers, as Tune does for those of a trial
        run_config=train.RunConfig(name=f"{trial.number:05d}-{trial.attempt}", storage_path=scratch),
    )


def _follow(plan: Plan, ledger: Ledger, trial: Trial, view: View, fit: _Fit, inbox: Any) -> None:
    """Hear the trial's reports until it has ended or is let go."""
    import ray
    from ray.exceptions import RayActorError

    attempt, over, told = trial.attempt, False, False
    gone: BaseException | None = None
    while not over:
        over = not fit.is_alive()  # before the last look: nothing comes after it
        try:
            for report in [] if gone else ray.get(inbox.take.remote()):
                _hear(plan, ledger, trial, report)
            if (ledger.must_stop or trial.ended) and not (told or gone):  # ended: it diverged
                told = True
                over |= not ray.get(inbox.let_go.remote())  # the GPUs may never come
        except RayActorError as error:
            gone = error
            over |= ledger.must_stop
            ray.kill(inbox)  # one that was only out of reach: the workers are to end at their next report
        view.refresh()
        fit.join(LOOK_S)
    finished = ledger.most_epochs is not None and trial.epoch >= ledger.most_epochs
    if ledger.must_stop and not finished:  # it goes on from its checkpoint when the search is resumed
        return
    why = fit.error or gone
    if why is None or finished:
        ledger.end(trial.number, attempt, "done")
        return
    kind, text = failure_of(why)
    if kind == "lost":
        ledger.lose(trial.number, attempt, kind, text)
    else:
        ledger.end(trial.number, attempt, kind, text)


def _hear(plan: Plan, ledger: Ledger, trial: Trial, report: dict[str, Any]) -> None:
    metrics = dict(report["metrics"])
    epoch = metrics.pop("epoch")
    metrics.pop("finished")
    try:
        fitness = plan.objective({**trial.cost, **metrics})
    except Diverged as error:
        ledger.end(trial.number, trial.attempt, "diverged", str(error))
        return
    ledger.hear(trial.number, trial.attempt, epoch, metrics, fitness, report["seconds"], report["node"])
