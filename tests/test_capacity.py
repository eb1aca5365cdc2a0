"""Shares of a GPU, nodes and slots, forecasts, and a budget of GPU hours that is kept: without a GPU."""

import heapq

import pytest
from ray import tune

from raynas.results.results import Results
from raynas.results.store import Store
from raynas.rng import stream
from raynas.run.experiment import Budget
from raynas.run.ledger import Ledger
from raynas.searchers import SEARCHERS
from raynas.settings import construct
from raynas.space import read

# -- a budget of GPU hours -----------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def open_ledger(folder, hours, share, clock, most_epochs=None):
    space = read({"x": tune.uniform(0.0, 1.0)})
    path = folder / "store.db"
    if not path.exists():
        spec = {"space": space.spec(), "objective": {"fitness": "accuracy"}}
        row = {"name": "test", "spec": spec, "seed": 0, "data": None, "fingerprints": {}}
        Store.create(path, row).close()
    store = Store.open(path, writable=True)
    searcher = construct(SEARCHERS["random"], {}, "search", space, 0)
    given = {"most_epochs": most_epochs, "clock": clock}
    resources = {"cpu": 1.0, "gpu": share}
    ledger = Ledger(store, folder, space, searcher, Budget(gpu_hours=hours), 0, resources, keep=0, **given)
    ledger.replay()
    return ledger


def run_out(ledger, clock, rng, *, slots, mean_s, epochs, tick=2.0, until=float("inf")):
    """Trials of random length on `slots` workers, looked at every `tick` seconds as Tune's loop does, until the ledger has
    all let go. Returns the seconds that trials really ran."""
    held, running, paces = 0.0, [], {}
    while clock.now < until:
        while len(running) < slots and not isinstance(trial := ledger.next(), str):
            pace = paces.setdefault(trial.number, float(rng.gamma(2.0, mean_s / 2)) / epochs)
            heapq.heappush(running, (clock.now + pace, trial.number, clock.now))
        if not running or ledger.must_stop:
            break
        clock.now = min(clock.now + tick, max(running[0][0], clock.now))
        while running and running[0][0] <= clock.now:
            due, number, began = heapq.heappop(running)
            trial = ledger.trials[number]
            held += due - began
            ledger.hear(number, trial.attempt, trial.epoch + 1, {}, 0.5, due - began)
            if trial.epoch == epochs:
                ledger.end(number, trial.attempt, "done")
            else:
                heapq.heappush(running, (due + paces[number], number, due))
    held += sum(clock.now - began for _, _, began in running)
    ledger.close()
    ledger.store.close()
    return held


@pytest.mark.parametrize("run", range(20))
def test_the_budget_of_gpu_hours_is_kept_and_used(tmp_path, run):
    """Less than 5 % more than was granted, more than 90 % of it used; in two sessions as in one."""
    rng, clock = stream(run), Clock()
    share, slots = float(rng.choice([0.125, 0.25, 0.5, 1.0, 2.0])), int(rng.integers(1, 17))
    epochs, mean_s = int(rng.integers(1, 12)), float(rng.uniform(200, 2000))
    hours = float(rng.uniform(2, 6)) * slots * mean_s * share / 3600
    given = {"slots": slots, "mean_s": mean_s, "epochs": epochs}
    held = 0.0
    if run % 2:
        first = open_ledger(tmp_path, hours, share, clock, epochs)
        held += run_out(first, clock, rng, until=hours * 3600 / share / slots / 2, **given)
    ledger = open_ledger(tmp_path, hours, share, clock, epochs)
    held += run_out(ledger, clock, rng, **given)
    assert 0.9 < held * share / 3600 / hours < 1.05
    assert ledger.reason == f"the budget of {hours:g} GPU hours is used up"
    assert Results(tmp_path / "store.db").trials["seconds"].sum() == pytest.approx(held, rel=0.01)
    again = open_ledger(tmp_path, hours, share, clock, epochs)
    assert again.next() == "end"  # although some were let go half-way: they wait for a larger budget
    again.store.close()
    larger = open_ledger(tmp_path, 3 * hours, share, clock, epochs)
    let_go = [trial.number for trial in larger.queue]
    assert let_go
    assert larger.next().number == let_go[0]


def test_no_trial_starts_when_those_that_run_need_the_rest(tmp_path):
    clock = Clock()
    ledger = open_ledger(tmp_path, hours=1.0, share=1.0, clock=clock)
    first = ledger.next()
    clock.now = 1500.0
    ledger.hear(first.number, 1, 1, {}, 0.5, 1500.0)
    ledger.end(first.number, 1, "done")
    second = ledger.next()  # as long as the first, as far as is known
    third = ledger.next()  # 3,000 of 3,600 s are spoken for: there is room
    assert ledger.next() == "wait"  # 4,500 are
    clock.now = 1600.0
    ledger.hear(second.number, 1, 1, {}, 0.5, 100.0)
    ledger.end(second.number, 1, "done")
    assert not ledger.must_stop
    clock.now = 1500.0 + 1999.0
    assert third.number in ledger.out
    assert not ledger.must_stop
    clock.now += 2.0
    assert ledger.must_stop
    ledger.close()
    rows = Results(tmp_path / "store.db").trials
    assert rows["seconds"].tolist() == [1500.0, 100.0, 2001.0]
    assert rows["state"].tolist() == ["done", "done", "queued"]
