"""The ledger: who was asked what, what ran, what was told. It drives a searcher and a store, and knows no Ray.

Whoever runs the trials asks `next` for one, and reports `started`, `hear`, `end` or `lose`. Everything is on disk before
the searcher hears of it, so that `replay` rebuilds the same state from the store after any kill.
"""

import shutil
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from raynas.objectives import MEASURED, Failure, Limit, Trial, broken
from raynas.results import Asked, Heard, Store, Told
from raynas.results.schema import trials
from raynas.rng import seed_at
from raynas.run.experiment import Budget
from raynas.run.failures import ALIKE, all_alike
from raynas.run.meter import Meter
from raynas.run.ranking import Ranking
from raynas.run.tracking import Audience
from raynas.searchers import Searcher
from raynas.space import Space

ATTEMPTS = 3  # a trial whose process or node dies is started this often without getting an epoch further
REPEATS = 200  # proposals without a new one that were trained already: the space is exhausted
REFUSALS = 5_000  # proposals without a new one that broke a limit
ENOUGH = 50  # refusals in a row while others run: time to look after them
INTERRUPTED = "interrupted"  # the reason of a search that a person stopped
TURNED_AWAY = 100  # trials in a row that broke a limit by what they measured

Next = Trial | Literal["wait", "end"]


def gpus_of(resources: dict[str, float] | None) -> float:
    """The GPUs that a trial holds: of all its workers."""
    return 0.0 if resources is None else resources["gpu"] * resources.get("workers", 1)


class Ledger:
    """The memory of one running experiment.

    `cost` maps a config to what its network costs, which `limits` may refuse; `scores` maps metrics and costs to the
    goals of the objective; `resources` is what a trial gets; `keep` is how many of the best trials keep their weights;
    `audience` hears of all trials but twins; `clock` is in seconds, for the budget of GPU hours. Unless `merge`, a network
    that was trained already is trained again when it is asked for again.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        space: Space,
        searcher: Searcher,
        budget: Budget,
        seed: int,
        resources: dict[str, float],
        keep: int,
        cost: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda config: None,
        most_epochs: int | None = None,
        limits: tuple[Limit, ...] = (),
        scores: Callable[[dict[str, Any]], tuple[float, ...]] = lambda metrics: (),
        audience: Audience | None = None,
        merge: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.store, self.folder, self.space, self.searcher = store, folder, space, searcher
        self.budget, self.seed, self.resources, self.keep, self.cost = budget, seed, resources, keep, cost
        self.most_epochs = most_epochs  # of a trial, where that is known
        self.limits, self.scores, self.merge = limits, scores, merge
        self.audience = audience or Audience({})
        self.trials: dict[int, Trial] = {}
        self.queue: deque[Trial] = deque()
        self.out: dict[int, Trial] = {}  # handed out, not ended
        self.answers: dict[str, Trial] = {}  # by identity: the trial that answers, or will
        self.losses: dict[int, int] = {}  # how often a trial's process died since its last report
        self.twins: dict[int, list[Trial]] = {}  # waiting for the trial that will answer them
        self.ranking = Ranking()
        self.seq, self.repeats, self.refusals = 0, 0, 0  # the last two since a new trial was proposed
        self.trained = 0  # trials that count for the budget: all but those answered by a twin or refused by a limit
        self.turned_away = 0  # trials in a row that were refused when they had measured themselves
        self.seconds = 0.0  # of training, all trials
        self.meter = Meter(budget.gpu_hours, gpus_of(resources), clock)
        self.first_start: float | None = None  # of a trial in this session
        self.ended_here: list[Trial] = []  # in this session, trained ones
        self.reason: str | None = None  # why no further trial starts
        self.error: str | None = None  # the traceback that ended it, if one did
        self.changed = False  # the searcher proposed other configs on replay than are on record
        self.session_began, self.earlier_s = time.monotonic(), float(store.experiment()["elapsed_s"] or 0.0)

    # -- replay --------------------------------------------------------------------------------------------------------

    def replay(self) -> list[Asked | Heard | Told]:
        """Rebuild everything from the store; unfinished trials are queued first, with their number. Returns the history."""
        history = self.store.history()
        for event in history:
            self.seq = event.seq
            if isinstance(event, Asked):
                self.changed |= self.searcher.ask() != event.trial.config
                self.trials[event.trial.number] = event.trial
                if event.trial.duplicate_of is None:
                    self.answers[event.trial.identity] = event.trial
            elif isinstance(event, Told):
                if event.trial.duplicate_of is not None:
                    self._answer(event.trial, self.trials[event.trial.duplicate_of])
                self._forget_failure(event.trial)
                self._tell_searcher(event.trial)
                self.ranking.add(event.trial, self.keep)
        for row in self.store.rows(trials):
            self.seconds += float(row["seconds"])
            self.meter.recall(row["number"], float(row["seconds"]), gpus_of(row["resources"]), row["told"] is not None)
        own = (trial for trial in self.trials.values() if trial.duplicate_of is None)
        self.trained = sum(trial.state != "refused" for trial in own)
        for trial in self.trials.values():
            if not trial.ended and trial.duplicate_of is None:
                trial.attempt += 1
                self.store.set_trial(trial.number, state="queued", attempt=trial.attempt)
                self.queue.append(trial)
        for trial in self.trials.values():
            if not trial.ended and trial.duplicate_of is not None:
                self._wait_for(trial, self.trials[trial.duplicate_of])
        return history

    # -- asking --------------------------------------------------------------------------------------------------------

    @property
    def elapsed_s(self) -> float:
        """Driver time over all sessions."""
        return self.earlier_s + time.monotonic() - self.session_began

    def _spent(self) -> str | None:
        """Which budget is used up."""
        if self.budget.trials is not None and self.trained >= self.budget.trials:
            return f"all {self.budget.trials} trials are done"
        if self._out_of_time:
            return f"the wall time of {self.budget.wall_time_s:g} s is used up"
        if self.meter.used_up:
            return f"the budget of {self.budget.gpu_hours:g} GPU hours is used up"
        return None

    @property
    def _out_of_time(self) -> bool:
        return self.budget.wall_time_s is not None and self.elapsed_s >= self.budget.wall_time_s

    def _left_s(self, number: int) -> float:
        """The seconds a running trial still takes by its own reports, should it train all its epochs."""
        trial = self.trials[number]
        if self.most_epochs is None or not trial.epoch:
            return 0.0
        return self.meter.used[number] / trial.epoch * max(0, self.most_epochs - trial.epoch)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to run. Asks: the next trial, if there is one, is queued."""
        trial = self.next()
        if isinstance(trial, str):
            return True
        del self.out[trial.number]
        self.meter.stop(trial.number, over=True)
        trial.state = "queued"
        self.queue.appendleft(trial)
        return False

    def next(self) -> Next:
        """The next trial to run, "wait" (ask again later), or "end"."""
        if self.reason is None and (self._out_of_time or self.meter.used_up):
            self.reason = self._spent()
        if self.reason is not None or self.store.broken is not None:
            return "end"
        if self.out and self.meter.taken(self._left_s):
            return "wait"
        if self.queue:
            waiting = self.queue.popleft()
            self.store.set_trial(waiting.number, state="running", started=time.time())
            return self._hand_out(waiting)
        spent = self._spent() or self._in_vain()
        while spent is None:
            config = self._propose()
            if self.reason is not None:
                return "end"
            if config is None:
                spent = "the searcher has nothing more to propose"
            elif (trial := self._ask(config)) is not None:
                self.repeats = self.refusals = 0
                return self._hand_out(trial)
            else:
                spent = self._spent() or self._in_vain()
                if self.out and self.refusals and self.refusals % ENOUGH == 0:
                    return "wait"
        if self.out:
            return "wait"  # one of them may be lost and want its place back
        self.reason = spent
        return "end"

    def _in_vain(self) -> str | None:
        """Whether too many proposals in a row led to no new trial, or to none that was trained."""
        if self.repeats >= REPEATS:
            return f"the space is exhausted: the last {REPEATS} proposals had been trained already"
        if self.refusals >= REFUSALS:
            return f"the last {REFUSALS:,} proposals broke the limits"
        if self.turned_away >= TURNED_AWAY:
            last = next(trial.error for trial in reversed(self.trials.values()) if trial.state == "refused")
            return f"the last {TURNED_AWAY} networks broke the limits when they were measured ({last})"
        return None

    def _propose(self) -> dict[str, Any] | None:
        try:
            return self.searcher.ask()
        except Exception:
            self._searcher_raised()
            return None

    def _searcher_raised(self) -> None:
        """A searcher that raises ends the search, with its traceback: Tune would swallow it."""
        self.reason, self.error = "the searcher raised", traceback.format_exc()

    def _ask(self, config: dict[str, Any]) -> Trial | None:
        """Record a proposal; None when a twin answers it or a limit refuses it."""
        number = len(self.trials)
        trial = Trial(
            number, config, self.space.identity(config), seed_at(self.seed, 1, number), origin=self.searcher.origin
        )
        twin = self.answers.get(trial.identity) if self.merge else None
        if twin is None:
            self.answers[trial.identity] = trial
            trial.cost = self.cost(config) or {}
            trial.error = self._broken(trial.cost)
            trial.state = "refused" if trial.error else "running"  # it is about to be handed out
        else:
            trial.duplicate_of, trial.cost = twin.number, twin.cost
        self.trials[number] = trial
        self.seq += 1
        if trial.state == "refused":
            self.store.ask(trial, self.seq, self.resources, told=self.seq + 1)
            self.seq, self.refusals = self.seq + 1, self.refusals + 1
            self._hand_on(trial)
            self.audience.end(trial)
            return None
        self.store.ask(trial, self.seq, self.resources)
        if twin is None:
            self.trained += 1
            return trial
        self._wait_for(trial, twin)
        if twin.state == "refused":
            self.refusals += 1
        else:
            self.repeats += 1
        return None

    def _broken(self, costs: dict[str, Any]) -> str | None:
        """Why the limits refuse a network before it is trained."""
        if not costs and any(limit.cost != MEASURED for limit in self.limits):
            return "its costs cannot be counted, and there are limits on them"
        return broken(self.limits, costs)

    def _wait_for(self, trial: Trial, twin: Trial) -> None:
        """Answer a trial from its twin, now or when that has ended."""
        if twin.ended:
            self._tell(trial, twin)
        else:
            self.twins.setdefault(twin.number, []).append(trial)

    def _hand_out(self, trial: Trial) -> Trial:
        self.first_start = self.first_start or time.monotonic()
        trial.state = "running"
        self.out[trial.number] = trial
        self.meter.start(trial.number)
        self.audience.start(trial)
        return trial

    def checkpoint(self, trial: Trial) -> Path:
        """The folder of a trial's checkpoint."""
        return self.folder / "checkpoints" / f"{trial.number:05d}"

    # -- hearing -------------------------------------------------------------------------------------------------------

    def hear(
        self,
        number: int,
        attempt: int,
        epoch: int,
        metrics: dict[str, Any],
        fitness: float,
        seconds: float,
        node: str = "",
        last: bool = False,
    ) -> bool:
        """Record a report; False when it is refused (of an attempt given up) or known already. The end of the trial
        follows at once on its `last` report: both are written together."""
        trial = self.trials[number]
        if number not in self.out or attempt != trial.attempt or epoch <= trial.epoch:
            return False
        self.seq += 1
        self.store.hear(Heard(self.seq, number, epoch, fitness, metrics), attempt, seconds, node, last)
        trial.curve.append((epoch, fitness))
        trial.metrics, trial.fitness = metrics, fitness
        self.seconds += seconds
        self.losses.pop(number, None)
        self.meter.hear(number, seconds)
        self.audience.hear(trial, epoch, fitness, metrics)
        return True

    def reconfigure(self, number: int, config: dict[str, Any]) -> None:
        """A scheduler (population based training) changed a running trial's config."""
        self.trials[number].config = config
        self.store.set_trial(number, config=config)

    def end(self, number: int, attempt: int, ended: str | None, error: str | None = None, fatal: bool = False) -> None:
        """A trial ended: `ended` is "done", "refused" (by a limit on what is measured before training), a kind of failure,
        or None when a scheduler stopped it early."""
        trial = self.trials[number]
        if number not in self.out or attempt != trial.attempt:
            return
        if ended == "done" and not trial.curve:
            ended, error = "error", "the training ended without a report: it must yield metrics at least once"
        if ended == "done" or (ended is None and self.most_epochs is not None and trial.epoch >= self.most_epochs):
            trial.state = "done"  # a scheduler also stops those that trained all their epochs
        elif ended is None:
            trial.state = "stopped"
        elif ended == "refused":
            trial.state, trial.error, trial.fitness = "refused", error, None
        else:
            self._fail(trial, ended, error)  # type: ignore[arg-type]
        del self.out[number]
        if self.meter.budget_s is not None and trial.state in (
            "failed",
            "refused",
        ):  # in an epoch that was not reported
            self.store.set_trial(number, seconds=self.meter.stop(number, over=False))
        self.meter.stop(number, over=True)
        self.meter.forget(number)
        self._tell(trial)
        self.audience.end(trial)
        for twin in self.twins.pop(number, []):
            self._tell(twin, trial)
        self._forget_failure(trial)
        beaten = self.ranking.add(trial, self.keep)
        if trial.state == "refused":
            self.turned_away, self.trained = self.turned_away + 1, self.trained - 1
        else:
            self.turned_away = self.repeats = self.refusals = 0  # the searcher knows more now
            self.ended_here.append(trial)
        self._drop_weights(trial.number, *beaten)
        if fatal:
            self.error = error
            self.reason = f"trial {number} failed in a way that every trial would: {error}"
        self._stop_if_broken()

    def lose(self, number: int, attempt: int, failure: Failure, error: str) -> None:
        """A trial's process or node died: it goes back to the queue, or fails at the last attempt."""
        trial = self.trials[number]
        if number not in self.out or attempt != trial.attempt:
            return
        self.losses[number] = self.losses.get(number, 0) + 1
        if failure != "lost" or self.losses[number] >= ATTEMPTS:
            self.end(number, attempt, failure, error)
            return
        del self.out[number]
        trial.attempt += 1
        trial.state = "queued"
        self.store.set_trial(number, state="queued", attempt=trial.attempt, **self._unreported(number))
        self.queue.append(trial)

    def _unreported(self, number: int) -> dict[str, float]:
        """The seconds of a trial that is let go, where they count: an unfinished epoch has used its GPU too."""
        seconds = self.meter.stop(number, over=self.meter.budget_s is None)
        return {} if self.meter.budget_s is None else {"seconds": seconds}

    def lose_all(self, error: str) -> None:
        """Everything that was out is gone, as when Ray itself stumbled."""
        for trial in list(self.out.values()):
            self.lose(trial.number, trial.attempt, "lost", error)

    def _fail(self, trial: Trial, failure: Failure, error: str | None) -> None:
        trial.state, trial.failure, trial.error, trial.fitness = "failed", failure, error, None

    def _tell(self, trial: Trial, twin: Trial | None = None) -> None:
        """Write the end of a trial, then tell the searcher."""
        if twin is not None:
            self._answer(trial, twin)
        self.seq += 1
        self.store.tell(trial, self.seq, self.elapsed_s)
        self._hand_on(trial)

    def _hand_on(self, trial: Trial) -> None:
        try:
            self._tell_searcher(trial)
        except Exception:
            self._searcher_raised()

    def _tell_searcher(self, trial: Trial) -> None:
        if trial.fitness is not None:
            trial.scores = self.scores({**trial.cost, **trial.metrics})
        self.searcher.tell(trial)

    def _answer(self, trial: Trial, twin: Trial) -> None:
        trial.state, trial.failure, trial.error, trial.fitness = twin.state, twin.failure, twin.error, twin.fitness
        trial.curve, trial.metrics, trial.cost = list(twin.curve), twin.metrics, twin.cost

    def _forget_failure(self, trial: Trial) -> None:
        """Only divergence says something of the network; after another failure the same one may be tried again."""
        if trial.failure not in (None, "diverged") and self.answers.get(trial.identity) is trial:
            del self.answers[trial.identity]

    def _stop_if_broken(self) -> None:
        if self.error is None and all_alike(self.ended_here):
            self.error = self.ended_here[0].error
            self.reason = f"the first {ALIKE} trials failed alike"

    # -- ending --------------------------------------------------------------------------------------------------------

    @property
    def must_stop(self) -> bool:
        """Whether running trials are to be stopped too."""
        if self.reason is None and (self._out_of_time or self.meter.used_up):
            self.reason = self._spent()
        return (self.reason is not None or self.store.broken is not None) and bool(self.out)

    def interrupt(self) -> None:
        """Start nothing more and let go of what runs; all of it can be resumed."""
        self.reason = INTERRUPTED

    def close(self) -> None:
        """Write the session's end; trials that were out are queued for the next one."""
        self.audience.close()
        if self.store.broken is not None:
            return
        for trial in self.out.values():
            self.store.set_trial(trial.number, state="queued", **self._unreported(trial.number))
        self._drop_weights(*self.trials)
        self.store.update_experiment(elapsed_s=self.elapsed_s, ended=self.reason or "the driver ended")

    def best(self, k: int = 1) -> list[Trial]:
        """The k best trials by the rule of Results."""
        if len(self.ranking):
            return self.ranking.best(k)
        scored = [trial for trial in self.trials.values() if trial.fitness is not None and trial.duplicate_of is None]
        return sorted(scored, key=lambda trial: (-(trial.fitness or 0.0), trial.number))[:k]

    def _drop_weights(self, *numbers: int) -> None:
        """Weights stay for the best `keep` trials, for the front of several goals, and for those that are not over."""
        best = {trial.number for trial in (*self.best(self.keep), *(self.ranking.front if self.keep else ()))}
        for number in numbers:
            if self.trials[number].ended and number not in best and not self._may_go_on(self.trials[number]):
                shutil.rmtree(self.checkpoint(self.trials[number]), ignore_errors=True)

    def _may_go_on(self, trial: Trial) -> bool:
        """Whether a trial that failed keeps its checkpoint: hours of several workers, for what may not happen again."""
        return self.resources.get("workers", 1) > 1 and trial.failure not in (None, "diverged")
