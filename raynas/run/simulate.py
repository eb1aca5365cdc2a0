"""A search on a table, in simulated time: the same searchers and schedulers, any number of workers, no Ray and no training."""

import heapq
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ray.tune.schedulers import FIFOScheduler, HyperBandScheduler, TrialScheduler

from raynas.data.tabular import Table, is_tabular, load_table
from raynas.objectives import Diverged, Objective, Trial
from raynas.results.results import Results
from raynas.run.experiment import Experiment
from raynas.run.ledger import REPEATS
from raynas.run.plan import Plan, make_plan
from raynas.run.recorded import recorded
from raynas.run.schedulers import ByNumber
from raynas.run.turns import Turns
from raynas.searchers import Searcher
from raynas.settings import check
from raynas.space import Space
from raynas.tables import InputError


@dataclass
class Simulation:
    """What happened: `trials` by number, `rows` of the table that answered them, `ended` (simulated second, number) in
    order, twins left out; `heard` is (simulated second, fitness) of every report."""

    trials: list[Trial] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    ended: list[tuple[float, int]] = field(default_factory=list)
    heard: list[tuple[float, float]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """The reports that were trained for."""
        return len(self.heard)

    def best(self, until: float = float("inf")) -> Trial | None:
        """The best by the rule of Results among those that ended by then."""
        there = [self.trials[number] for second, number in self.ended if second <= until]
        scored = [trial for trial in there if trial.fitness is not None]
        done = [trial for trial in scored if trial.state == "done"] or scored
        return max(done, key=lambda trial: (trial.fitness, -trial.number)) if done else None


@dataclass
class Driver:
    """The one process that all results go through, one after the other. A result, with the step or the start that follows
    it, costs `handling_s` and the CPU time that searcher and scheduler really take to decide; a worker waits until it is
    served. `busy_s` is its work so far, `free` the simulated second at which it is done with it."""

    handling_s: float = 0.0
    busy_s: float = 0.0
    free: float = 0.0
    _began: float = 0.0
    _since: float = 0.0

    def begin(self, now: float) -> float:
        """The simulated second at which it turns to what came in at `now`."""
        self._began, self._since = max(now, self.free), time.process_time()
        self.free = self._began
        return self._began

    def handled(self) -> float:
        """The simulated second at which what it turned to is dealt with."""
        self.free += time.process_time() - self._since + self.handling_s
        self.busy_s += self.free - self._began
        self._began, self._since = self.free, time.process_time()
        return self.free


class Simulator:
    """Workers take a trial each from the searcher as soon as they are free; a trial reports when its recorded seconds have
    passed. Twins are answered at once and free, as in a real search, unless `merge` is false: then every config is
    trained anew. With a scheduler that pauses trials all `trials` are asked for at the start and take turns. Deciding takes
    no time unless there is a `driver`. The search ends when a trial reaches `enough`, where that is given."""

    def __init__(
        self,
        table: Table,
        space: Space,
        searcher: Searcher,
        objective: Objective,
        scheduler: TrialScheduler | None = None,
        *,
        workers: int = 1,
        trials: int | None = None,
        seconds: float | None = None,
        epochs: int | None = None,
        merge: bool = True,
        driver: Driver | None = None,
        enough: float = float("inf"),
    ):
        self.driver, self.enough, self.asked_s = driver, enough, 0.0  # the last: when the last trial was asked for
        self.table, self.space, self.searcher, self.objective = table, space, searcher, objective
        self.rules: ByNumber | None = scheduler if isinstance(scheduler, ByNumber) else None
        self.turns: Turns | None = None
        if scheduler is not None and self.rules is None and type(scheduler) is not FIFOScheduler:
            if not isinstance(scheduler, HyperBandScheduler):
                raise InputError("a simulation copies no weights: stop is none, asha, median or hyperband")
            self.turns = Turns(scheduler, self._stop)
        self.workers, self.most, self.seconds, self.epochs, self.merge = workers, trials, seconds, epochs, merge
        self.found = Simulation()
        self.now = 0.0
        self.answers: dict[str, Trial] = {}
        self.twins: dict[int, list[Trial]] = {}
        self.events: list[tuple[float, int]] = []  # (second, number) of the next report of those that run
        self.reports: dict[int, list[dict[str, Any]]] = {}  # of those that are not over
        self.trained, self.repeats = 0, 0

    def run(self) -> Simulation:
        if self.turns is not None:
            while (trial := self._ask()) is not None:
                self.turns.add(trial.number)
        self._turn_to(0.0)
        self._fill()
        while self.events:
            now, number = heapq.heappop(self.events)
            if self.seconds is not None and now > self.seconds:
                break
            self._turn_to(now)
            trial = self.found.trials[number]
            self._hear(trial)
            if trial.state == "done" and trial.fitness is not None and trial.fitness >= self.enough:
                break
            self._fill()
        return self.found

    def _turn_to(self, now: float) -> None:
        self.now = now if self.driver is None else self.driver.begin(now)

    def _fill(self) -> None:
        """Give work to every free worker."""
        while len(self.events) < self.workers:
            if self.turns is not None:
                number = self.turns.choose()
            else:
                trial = self._ask()
                number = None if trial is None else trial.number
            if number is None:
                return
            self._go_on(self.found.trials[number])

    def _ask(self) -> Trial | None:
        """One more trial to train, None when there is none; twins on the way are answered."""
        while (self.most is None or self.trained < self.most) and self.repeats < REPEATS:
            config = self.searcher.ask()
            if config is None:
                return None
            trial = Trial(
                len(self.found.trials), config, self.space.identity(config), origin=dict(self.searcher.origin)
            )
            row = self.table.find(config)
            self.found.trials.append(trial)
            self.found.rows.append(row)
            twin = self.answers.setdefault(trial.identity, trial) if self.merge else trial
            if twin is trial:
                self.trained, self.repeats = self.trained + 1, 0
                trial.state, trial.cost = "running", self.table.cost(row)
                reports = self.table.reports(row, self.epochs)
                if not reports:
                    raise InputError(f"row {row} of '{self.table.name}' has no report up to epoch {self.epochs}")
                self.reports[trial.number] = reports
                return trial
            self.repeats += 1
            trial.duplicate_of = twin.number
            if twin.ended:
                self._answer(trial, twin)
            else:
                self.twins.setdefault(twin.number, []).append(trial)
        return None

    def _go_on(self, trial: Trial) -> None:
        """Let a trial train on to its next report."""
        if self.driver is not None:
            self.now = self.driver.handled()
        if not trial.curve:
            self.asked_s = self.now
        reports, place = self.reports[trial.number], len(trial.curve)
        before = reports[place - 1]["simulated_s"] if place else 0.0
        heapq.heappush(self.events, (self.now + reports[place]["simulated_s"] - before, trial.number))

    def _hear(self, trial: Trial) -> None:
        """A report: judged, shown to the scheduler, followed by the next, a pause or the end."""
        report = self.reports[trial.number][len(trial.curve)]
        try:
            trial.scores = self.objective.scores({**trial.cost, **report})
        except Diverged as error:
            trial.state, trial.failure, trial.error, trial.fitness = "failed", "diverged", str(error), None
            self.found.heard.append((self.now, float("-inf")))
            if self.turns is not None:
                self.turns.fail(trial.number)
            return self._end(trial)
        trial.fitness = trial.scores[0]
        trial.curve.append((report["epoch"], trial.fitness))
        trial.metrics = report
        self.found.heard.append((self.now, trial.fitness))
        said = {"epoch": report["epoch"], "fitness": trial.fitness}
        if len(trial.curve) == len(self.reports[trial.number]):
            if rules := self.rules or self.turns:
                rules.complete(trial.number, said)
            trial.state = "done"
            return self._end(trial)
        rules = self.rules or self.turns
        action = TrialScheduler.CONTINUE if rules is None else rules.result(trial.number, said)
        if action == TrialScheduler.STOP:
            if self.rules is not None:
                self.rules.complete(trial.number, said)
            return self._stop(trial.number)
        if action == TrialScheduler.CONTINUE:
            self._go_on(trial)
        return None

    def _stop(self, number: int) -> None:
        trial = self.found.trials[number]
        trial.state = "stopped"
        self._end(trial)

    def _end(self, trial: Trial) -> None:
        del self.reports[trial.number]
        self.found.ended.append((self.now, trial.number))
        self.searcher.tell(trial)
        for twin in self.twins.pop(trial.number, []):
            self._answer(twin, trial)

    def _answer(self, trial: Trial, twin: Trial) -> None:
        for name in ("state", "failure", "error", "fitness", "scores", "curve", "metrics", "cost"):
            setattr(trial, name, getattr(twin, name))
        self.searcher.tell(trial)


def simulated(plan: Plan, seed: int, workers: int, merge: bool = True, searcher: Searcher | None = None) -> Simulation:
    """One simulated search of a plan that has a table; `merge` as of Simulator, `searcher` another than the plan's."""
    assert plan.table is not None
    budget = plan.experiment.budget
    return Simulator(
        plan.table,
        plan.space,
        searcher or plan.searcher(seed),
        plan.objective,
        plan.scheduler(),
        workers=workers,
        trials=budget.trials,
        seconds=budget.wall_time_s,
        epochs=plan.experiment.training.epochs,
        merge=merge,
    ).run()


def plan_simulation(spec: dict[str, Any], results: Results | None = None) -> Plan:
    """A plan on a table: that of `data: tabular:…`, or the trials of a finished experiment, whose objective, space,
    epochs and number of trials are those of the simulation unless said otherwise."""
    if results is None:
        if not is_tabular(spec.get("data")):
            raise InputError(
                f"name a table, data: tabular:FILE#PART, or a finished experiment; got {spec.get('data')!r}"
            )
        table = load_table(spec["data"])
        spec = {"space": "table", **spec}
    else:
        table = recorded(results)
        stored = results.experiment["spec"]
        trials = stored.get("budget", {}).get("trials") or len(table)  # others were bounded by time
        own = {"objective": stored["objective"], "budget": {"trials": trials}}
        spec = {**own, **spec, "space": "table", "data": f"tabular:{results.name}"}
    plan = make_plan(check(Experiment, spec, "simulation"), table=table)
    budget = plan.experiment.budget
    if budget.trials is None and budget.wall_time_s is None:
        raise InputError("a simulation ends by budget.trials or budget.wall_time_s: it has no GPUs to count hours of")
    return plan


@dataclass(frozen=True)
class Outcome:
    """What a searcher reached over seeds: for each measure (trials, simulated_s, steps, fitness, and the table's final
    values of the best trial) the mean and the half width of its 95 % interval (normal)."""

    search: str
    workers: int
    seeds: int
    measures: dict[str, tuple[float, float]]


def outcome(plan: Plan, workers: int, seeds: int) -> Outcome:
    """Simulate with seeds 0, 1, … and sum up. Raises InputError for more workers than trials."""
    assert plan.table is not None
    most = plan.experiment.budget.trials
    if most is not None and workers > most:
        raise InputError(f"{workers} workers are more than {most} trials: some would never have one")
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        run = simulated(plan, seed, workers)
        best = run.best()
        if best is None:
            raise InputError(f"no trial of '{plan.table.name}' ended within the budget")
        row = {
            "trials": len(run.ended),
            "simulated_s": run.ended[-1][0],
            "steps": run.steps,
            "fitness": best.fitness,
            **{name: column[run.rows[best.number]] for name, column in plan.table.final.items()},
        }
        for name, value in row.items():
            found.setdefault(name, []).append(float(value))
    measures = {name: (float(np.mean(values)), _half_width(values)) for name, values in found.items()}
    return Outcome(plan.experiment.search["name"], workers, seeds, measures)


def _half_width(values: list[float]) -> float:
    return float(1.96 * np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")
