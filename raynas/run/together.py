"""One trial on several workers, by Ray Train: for a network that is worth more than one GPU."""

import tempfile
import threading
import time
import traceback
from typing import Any

from raynas.objectives import Diverged, Trial
from raynas.run.ledger import Ledger
from raynas.run.plan import Plan
from raynas.run.progress import View
from raynas.train.network import NetworkTraining
from raynas.train.trainable import kind_of_failure

LOOK_S = 0.1  # between two looks at what came in


class Inbox:
    """An actor between the first worker and the driver: reports one way, whether to go on the other."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.wanted = True

    def put(self, report: dict[str, Any]) -> bool:
        self.reports.append(report)
        return self.wanted

    def take(self) -> list[dict[str, Any]]:
        reports, self.reports = self.reports, []
        return reports

    def let_go(self) -> None:
        self.wanted = False


def _work(given: dict[str, Any]) -> None:
    """What every worker runs."""
    import ray
    import torch
    import torch.distributed as dist
    from ray.train.torch import get_device

    from raynas.train.parallel import train_part

    torch.set_num_threads(max(1, int(given["cpu"])))
    device = get_device()
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

    with tempfile.TemporaryDirectory(prefix="tune-", dir=ledger.folder) as scratch:
        while not isinstance(trial := ledger.next(), str):
            inbox = ray.remote(num_cpus=0)(Inbox).remote()
            fit = _Fit(_trainer(ledger, trial, training, inbox, scratch))
            fit.start()
            _follow(plan, ledger, trial, view, fit, inbox)
            ray.kill(inbox)


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
        run_config=train.RunConfig(name=f"{trial.number:05d}-{trial.attempt}", storage_path=scratch),
    )


def _follow(plan: Plan, ledger: Ledger, trial: Trial, view: View, fit: _Fit, inbox: Any) -> None:
    """Hear the trial's reports until it has ended or is let go."""
    import ray

    attempt, over, told = trial.attempt, False, False
    while not over:
        over = not fit.is_alive()  # before the last look: nothing comes after it
        for report in ray.get(inbox.take.remote()):
            _hear(plan, ledger, trial, report)
        view.refresh()
        if (ledger.must_stop or trial.ended) and not told:  # ended: it diverged
            told = True
            inbox.let_go.remote()
        fit.join(LOOK_S)
    finished = ledger.most_epochs is not None and trial.epoch >= ledger.most_epochs
    if ledger.must_stop and not finished:  # it goes on from its checkpoint when the search is resumed
        return
    if fit.error is None:
        ledger.end(trial.number, attempt, "done")
    else:
        _fail(ledger, trial, attempt, fit.error)


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


def _fail(ledger: Ledger, trial: Trial, attempt: int, error: BaseException) -> None:
    """What became of a trial whose workers raised, or died."""
    causes = [*getattr(error, "worker_failures", {}).values(), error]
    said = next((cause for cause in causes if isinstance(cause, Diverged)), causes[0])
    text = "".join(traceback.format_exception(said)).strip()
    if "ActorDied" in text or "WorkerDied" in text or "NodeDied" in text:
        ledger.lose(trial.number, attempt, "lost", text)
        return
    kind = "diverged" if "Diverged" in text else kind_of_failure(said)
    ledger.end(trial.number, attempt, kind, str(said) if kind == "diverged" else text)
