"""The ledger without Ray: budgets, twins, failures, and replay after a kill at any moment."""

import random

import pytest
from ray import tune

from raynas.objectives import OBJECTIVES, parse_limit
from raynas.results.results import Results
from raynas.results.store import Store, StoreError
from raynas.run.experiment import Budget
from raynas.run.failures import ALIKE
from raynas.run.ledger import ATTEMPTS, REFUSALS, REPEATS, Ledger
from raynas.run.meter import Meter
from raynas.searchers import SEARCHERS
from raynas.settings import construct
from raynas.space import read

SPACE = {"x": tune.uniform(0.0, 1.0), "n": tune.randint(0, 50)}


def open_ledger(folder, *, space=SPACE, search="regularized-evolution", options=None, seed=0, more=None, **budget):
    """A ledger on the store in `folder`, as a driver makes it: created or replayed."""
    space = read(space)
    path = folder / "store.db"
    if not path.exists():
        Store.create(
            path,
            {
                "name": "test",
                "spec": {"space": space.spec(), "objective": {"fitness": "accuracy"}},
                "seed": seed,
                "data": None,
                "fingerprints": {},
            },
        ).close()
    store = Store.open(path, writable=True)
    small = {"population": 4, "tournament": 2} if search in ("regularized-evolution", "genetic") else {}
    searcher = construct(SEARCHERS[search], small if options is None else options, "search", space, seed)
    ledger = Ledger(
        store, folder, space, searcher, Budget(**budget), seed, {"cpu": 1.0, "gpu": 0.0}, keep=2, **(more or {})
    )
    ledger.replay()
    return ledger


def score(config):
    return config["x"] - 0.01 * config["n"]


def run_one(ledger, trial, epochs=2):
    """Train a trial to its end from where it stands."""
    for epoch in range(trial.epoch + 1, epochs + 1):
        ledger.hear(
            trial.number, trial.attempt, epoch, {"score": score(trial.config)}, score(trial.config) * epoch, 0.1
        )
    ledger.end(trial.number, trial.attempt, "done")


def run_all(ledger, slots=1, rng=None):
    """Run until the ledger says "end", `slots` trials at a time, ended in an order of `rng`."""
    out = []
    while True:
        while len(out) < slots and not isinstance(trial := ledger.next(), str):
            out.append(trial)
        if not out:
            assert trial == "end"
            return
        run_one(ledger, out.pop(rng.randrange(len(out)) if rng else 0))


def configs(ledger):
    return [trial.config for trial in ledger.trials.values()]


def test_runs_its_budget_and_remembers(tmp_path):
    ledger = open_ledger(tmp_path, trials=12)
    run_all(ledger)
    ledger.close()
    assert ledger.reason == "all 12 trials are done"
    frame = Results(tmp_path / "store.db").trials
    assert list(frame["number"]) == list(range(12))
    assert set(frame["state"]) == {"done"}
    assert [score({"x": row.x, "n": row.n}) * 2 for row in frame.itertuples()] == pytest.approx(list(frame["fitness"]))


@pytest.mark.parametrize("search", ["random", "regularized-evolution", "genetic", "optuna"])
@pytest.mark.parametrize("kill_after", [1, 5, 9])
def test_a_killed_search_goes_on_as_if_nothing_had_been(tmp_path, search, kill_after):
    whole = open_ledger(tmp_path / "whole", search=search, trials=12)
    run_all(whole)

    cut = open_ledger(tmp_path / "cut", search=search, trials=12)
    for _ in range(kill_after):
        run_one(cut, cut.next())
    running = cut.next()  # killed in the middle of this one
    cut.hear(running.number, 1, 1, {}, score(running.config), 0.1)
    cut.store.close()

    again = open_ledger(tmp_path / "cut", search=search, trials=12)
    first = again.next()
    assert (first.number, first.config, first.attempt, first.epoch) == (running.number, running.config, 2, 1)
    assert not again.changed
    run_one(again, first)
    run_all(again)
    assert configs(again) == configs(whole)
    assert {trial.number: trial.fitness for trial in again.trials.values()} == {
        trial.number: trial.fitness for trial in whole.trials.values()
    }


@pytest.mark.parametrize("seed", range(4))
def test_replay_repeats_any_interleaving(tmp_path, seed):
    """Trials out of order, stopped, failed, lost: the replayed ledger proposes what the first would have proposed."""
    rng = random.Random(seed)
    ledger = open_ledger(tmp_path, trials=60, seed=seed)
    out = []
    for _ in range(40):
        while len(out) < 3 and not isinstance(trial := ledger.next(), str):
            out.append(trial)
        trial = out.pop(rng.randrange(len(out)))
        fate = rng.choice(["done", "done", "stopped", "diverged", "error", "lost"])
        if fate != "error":
            ledger.hear(trial.number, trial.attempt, trial.epoch + 1, {}, score(trial.config), 0.1)
        if fate == "lost":
            ledger.lose(trial.number, trial.attempt, "lost", "the node died")
        else:
            ledger.end(trial.number, trial.attempt, None if fate == "stopped" else fate)
        ledger.reason = ledger.error = None  # three errors alike are no concern here
    ledger.store.close()
    again = open_ledger(tmp_path, trials=60, seed=seed)
    assert not again.changed
    assert {number: (t.state, t.fitness, t.curve) for number, t in again.trials.items() if t.ended} == {
        number: (t.state, t.fitness, t.curve) for number, t in ledger.trials.items() if t.ended
    }
    unfinished = [trial.number for trial in ledger.trials.values() if not trial.ended and trial.duplicate_of is None]
    assert [trial.number for trial in again.queue] == unfinished
    assert [again.searcher.ask() for _ in range(5)] == [ledger.searcher.ask() for _ in range(5)]


def test_a_finished_search_extends(tmp_path):
    run_all(open_ledger(tmp_path, trials=6))
    more = open_ledger(tmp_path, trials=10)
    run_all(more)
    whole = open_ledger(tmp_path / "whole", trials=10)
    run_all(whole)
    assert configs(more) == configs(whole)


def test_twins_are_answered_not_trained(tmp_path):
    ledger = open_ledger(tmp_path, space={"x": 0.5, "n": tune.randint(0, 4)}, search="random", trials=4)
    trained = []
    while not isinstance(trial := ledger.next(), str):
        trained.append(trial)
        run_one(ledger, trial)
    assert sorted(trial.config["n"] for trial in trained) == [0, 1, 2, 3]
    twins = [trial for trial in ledger.trials.values() if trial.duplicate_of is not None]
    assert twins
    for twin in twins:
        assert twin.fitness == ledger.trials[twin.duplicate_of].fitness
        assert twin.state == "done"
    frame = Results(tmp_path / "store.db").trials
    assert frame["duplicate_of"].notna().sum() == len(twins)
    assert Results(tmp_path / "store.db").best(10)["duplicate_of"].isna().all()


def test_a_twin_of_a_running_trial_waits_for_it(tmp_path):
    ledger = open_ledger(tmp_path, space={"x": 0.5, "n": tune.choice([1, 2])}, search="random", trials=2)
    first, second = ledger.next(), ledger.next()
    waiting = [trial for trial in ledger.trials.values() if trial.duplicate_of is not None]
    assert first.config != second.config
    run_one(ledger, second)
    run_one(ledger, first)
    assert all(trial.ended for trial in ledger.trials.values())
    assert all(trial.fitness == ledger.trials[trial.duplicate_of].fitness for trial in waiting)


def test_an_exhausted_space_ends_the_search(tmp_path):
    ledger = open_ledger(tmp_path, space={"x": 0.5, "n": tune.randint(0, 3)}, search="random", trials=10)
    run_all(ledger)
    assert ledger.trained == 3
    assert str(REPEATS) in ledger.reason


def test_a_grid_ends_when_all_is_tried(tmp_path):
    ledger = open_ledger(tmp_path, space={"x": 0.5, "n": tune.randint(0, 7)}, search="grid", options={}, trials=100)
    run_all(ledger, slots=3)
    assert sorted(config["n"] for config in configs(ledger)) == list(range(7))
    assert ledger.reason == "the searcher has nothing more to propose"


def test_late_reports_of_a_given_up_attempt_are_refused(tmp_path):
    ledger = open_ledger(tmp_path, trials=3)
    trial = ledger.next()
    assert ledger.hear(trial.number, 1, 1, {}, 0.1, 0.1)
    ledger.lose(trial.number, 1, "lost", "node died")
    again = ledger.next()
    assert (again.number, again.attempt) == (trial.number, 2)
    assert not ledger.hear(trial.number, 1, 2, {}, 0.9, 0.1)  # the orphan
    ledger.end(trial.number, 1, "done")
    assert not trial.ended
    assert not ledger.hear(trial.number, 2, 1, {}, 0.1, 0.1)  # known already
    assert ledger.hear(trial.number, 2, 2, {}, 0.2, 0.1)
    assert trial.curve == [(1, 0.1), (2, 0.2)]


def test_a_trial_that_is_always_lost_fails(tmp_path):
    ledger = open_ledger(tmp_path, trials=1)
    for attempt in range(1, ATTEMPTS + 1):
        trial = ledger.next()
        assert trial.attempt == attempt
        ledger.lose(trial.number, attempt, "lost", "node died")
    assert (trial.state, trial.failure, trial.fitness) == ("failed", "lost", None)


def test_a_trial_that_gets_on_between_its_losses_does_not_fail(tmp_path):
    """Spot nodes: it is lost again and again, and each time an epoch further."""
    ledger = open_ledger(tmp_path, trials=1)
    for attempt in range(1, 2 * ATTEMPTS):
        trial = ledger.next()
        assert trial.attempt == attempt
        assert ledger.hear(trial.number, attempt, attempt, {}, 0.1, 0.1)
        ledger.lose(trial.number, attempt, "lost", "node died")
    assert trial.state == "queued"
    for attempt in range(2 * ATTEMPTS, 3 * ATTEMPTS - 1):
        trial = ledger.next()
        assert not ledger.hear(trial.number, attempt, 2, {}, 0.1, 0.1)  # known already: no progress
        ledger.lose(trial.number, attempt, "lost", "node died")
    assert (trial.state, trial.failure) == ("failed", "lost")


def test_the_first_failures_alike_end_the_search(tmp_path):
    ledger = open_ledger(tmp_path, trials=20)
    text = 'Traceback\n  File "a.py", line 3, in train\n    boom()\nKeyError: {}'
    for number in range(ALIKE):
        trial = ledger.next()
        ledger.end(trial.number, 1, "error", text.format(number))
    assert ledger.next() == "end"
    assert ledger.error == text.format(0)


@pytest.mark.parametrize("fates", [["done", "error", "error", "error"], ["diverged"] * 4, ["oom"] * 4])
def test_other_failures_do_not(tmp_path, fates):
    ledger = open_ledger(tmp_path, trials=20)
    for fate in fates:
        trial = ledger.next()
        ledger.hear(trial.number, 1, 1, {}, 0.5, 0.1)
        ledger.end(trial.number, 1, fate, "same")
    assert not isinstance(ledger.next(), str)


def test_an_interrupt_keeps_what_runs(tmp_path):
    ledger = open_ledger(tmp_path, trials=5)
    trial = ledger.next()
    ledger.hear(trial.number, 1, 1, {}, 0.3, 0.1)
    ledger.interrupt()
    assert ledger.must_stop
    assert ledger.next() == "end"
    ledger.close()
    again = open_ledger(tmp_path, trials=5)
    assert again.next().number == trial.number


def test_budgets_of_time_and_gpu_hours(tmp_path):
    ledger = open_ledger(tmp_path / "wall", wall_time_s=1e-9)
    assert ledger.next() == "end"
    assert "wall time" in ledger.reason
    ledger = open_ledger(tmp_path / "gpu", gpu_hours=1.0)
    ledger.meter = Meter(1.0, 0.5)
    trial = ledger.next()
    ledger.hear(trial.number, 1, 1, {}, 0.5, 7200.0)
    ledger.end(trial.number, 1, "done")
    assert ledger.next() == "end"
    assert "GPU hours" in ledger.reason


def test_weights_stay_for_the_best(tmp_path):
    ledger = open_ledger(tmp_path, search="random", trials=8)
    while not isinstance(trial := ledger.next(), str):
        ledger.checkpoint(trial).mkdir(parents=True)
        run_one(ledger, trial)
    kept = {int(folder.name) for folder in (tmp_path / "checkpoints").iterdir()}
    assert kept == {trial.number for trial in ledger.best(2)} == set(Results(tmp_path / "store.db").best(2)["number"])


def test_a_finished_trial_is_on_disk_before_the_searcher_hears_of_it(tmp_path):
    ledger = open_ledger(tmp_path, trials=3)
    heard = []

    class Listening:
        origin: dict = {}

        def __init__(self, inner):
            self.inner = inner

        def ask(self):
            return self.inner.ask()

        def tell(self, trial):
            heard.append(Results(tmp_path / "store.db").trials.set_index("number").loc[trial.number, "state"])

    ledger.searcher = Listening(ledger.searcher)
    run_all(ledger)
    assert heard == ["done"] * 3


# -- the store -----------------------------------------------------------------------------------------------------


def test_a_store_of_a_newer_schema_is_refused(tmp_path):
    import sqlite3

    open_ledger(tmp_path, trials=1).store.close()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("UPDATE raynas SET schema = 99")
    with pytest.raises(StoreError, match="newer raynas"):
        Store.open(tmp_path / "store.db")


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to be read as one" * 50])
def test_what_is_no_store_is_said(tmp_path, content):
    path = tmp_path / "store.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="store"):
        Store.open(path)


def test_readers_cannot_write(tmp_path):
    open_ledger(tmp_path, trials=1).store.close()
    with pytest.raises(StoreError, match="cannot write"):
        Store.open(tmp_path / "store.db").update_experiment(ended="x")


def test_a_store_that_cannot_be_created_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write the store"):
        Store.create(tmp_path / "file" / "store.db", {"name": "a", "spec": {}, "seed": 0})
    with pytest.raises(StoreError):
        Store.create(tmp_path / "there" / "store.db", {"name": None, "spec": {}, "seed": 0})
    assert not (tmp_path / "there").exists()


def test_strange_metrics_become_json(tmp_path):
    import numpy as np

    ledger = open_ledger(tmp_path, trials=1)
    trial = ledger.next()
    metrics = {"nan": float("nan"), "np": np.float32(0.5), "list": [1, np.int64(2)], "text": "a", "object": object()}
    ledger.hear(trial.number, 1, 1, metrics, 0.5, 0.1)
    curves = Results(tmp_path / "store.db").curves
    assert curves["np"].iloc[0] == 0.5
    assert curves["list"].iloc[0] == "[1, 2]"
    assert curves["nan"].isna().all()


def test_resuming_costs_no_attempt(tmp_path):
    """Only a death of its process does."""
    for _ in range(5):
        ledger = open_ledger(tmp_path, trials=1)
        trial = ledger.next()
        ledger.interrupt()
        ledger.close()
    ledger = open_ledger(tmp_path, trials=1)
    trial = ledger.next()
    assert trial.attempt == 6
    ledger.lose(trial.number, 6, "lost", "node died")
    assert ledger.next().attempt == 7


# -- limits and costs ----------------------------------------------------------------------------------------------


def limited(folder, bound=20, **given):
    """A ledger on which a config costs `n` parameters, `bound` at most, judged by score and size."""
    goals = OBJECTIVES["pareto"](metrics={"score": "max", "params": "min"})
    more = {
        "cost": lambda config: {"params": config["n"]},
        "limits": (parse_limit(f"params <= {bound}"),),
        "scores": goals.scores,
    }
    return open_ledger(folder, more=more, **given)


@pytest.mark.parametrize(
    ("search", "options"),
    [
        ("random", {}),
        ("genetic", {"population": 4, "tournament": 2}),
        ("genetic", {"population": 4, "tournament": 2, "manner": "generational"}),
        ("nsga2", {"population": 4, "manner": "generational"}),
        ("optuna", {}),
    ],
)
@pytest.mark.parametrize("slots", [1, 3])
def test_networks_beyond_a_limit_are_never_trained_and_cost_no_budget(tmp_path, search, options, slots):
    ledger = limited(tmp_path, search=search, options=options, trials=20)
    run_all(ledger, slots, random.Random(0))
    trials = list(ledger.trials.values())
    assert {trial.state for trial in trials} == {"done", "refused"}
    assert sum(trial.state == "done" for trial in trials) == ledger.trained == 20
    for trial in trials:
        assert (trial.state == "refused") is (trial.config["n"] > 20)
        assert trial.cost == {"params": trial.config["n"]}
        if trial.state == "refused":
            assert trial.error == f"params is {trial.config['n']}, not <= 20"
            assert (trial.fitness, trial.epoch) == (None, 0)
        else:
            assert trial.scores == (score(trial.config), -trial.config["n"])
    ledger.close()
    frame = Results(tmp_path / "store.db").trials
    assert (frame["params"] == frame["n"]).all()
    assert (frame["state"] == "refused").sum() == len(trials) - 20
    again = limited(tmp_path, search=search, options=options, trials=26)
    assert not again.changed
    run_all(again)
    assert again.trained == 26
    refused = [trial.number for trial in again.trials.values() if trial.state == "refused"]
    assert not set(refused) & {number for trial in again.trials.values() for number in trial.origin.get("parents", [])}


def test_a_limit_that_is_hardly_ever_met_ends_the_search(tmp_path):
    ledger = limited(tmp_path, bound=2, space={"x": tune.uniform(0.0, 1.0), "n": 3}, search="random", trials=2)
    ledger.store.ask = lambda *_, **__: None  # thousands of rows are not the point
    run_all(ledger)
    assert ledger.reason == f"the last {REFUSALS:,} proposals broke the limits"


def test_a_trial_refused_for_what_it_measured_makes_room_for_another(tmp_path):
    ledger = open_ledger(tmp_path, trials=3)
    first = ledger.next()
    ledger.end(first.number, 1, "refused", "latency_ms is 7.5, not <= 5")
    run_all(ledger)
    assert (first.state, first.fitness, first.failure) == ("refused", None, None)
    assert ledger.trained == 3
    assert len(ledger.trials) == 4
    ledger.close()
    row = Results(tmp_path / "store.db").trials.iloc[0]
    assert (row["state"], row["error"]) == ("refused", "latency_ms is 7.5, not <= 5")


def test_a_search_of_which_every_network_is_refused_ends(tmp_path):
    ledger = open_ledger(tmp_path, trials=3, search="random")
    while not isinstance(trial := ledger.next(), str):
        ledger.end(trial.number, 1, "refused", "latency_ms is 7.5, not <= 5")
    said = "(latency_ms is 7.5, not <= 5)"
    assert ledger.reason == f"the last 100 networks broke the limits when they were measured {said}"
    assert len(ledger.trials) == 100


def test_a_twin_has_the_cost_of_its_network(tmp_path):
    space = {"n": tune.randint(0, 3)}
    ledger = open_ledger(
        tmp_path, space=space, search="random", trials=5, more={"cost": lambda config: {"params": config["n"]}}
    )
    while not isinstance(trial := ledger.next(), str):
        ledger.hear(trial.number, 1, 1, {}, 0.5, 0.1)
        ledger.end(trial.number, 1, "done")
    twins = [trial for trial in ledger.trials.values() if trial.duplicate_of is not None]
    assert twins
    assert all(trial.cost == {"params": trial.config["n"]} for trial in ledger.trials.values())


def test_the_front_keeps_its_weights(tmp_path):
    """With several goals all trials that no other beats keep theirs, and those beaten later lose them."""
    ledger = limited(tmp_path, bound=49, search="random", trials=25, seed=8)
    while not isinstance(trial := ledger.next(), str):
        ledger.checkpoint(trial).mkdir(parents=True)
        run_one(ledger, trial)
    ledger.close()
    results = Results(tmp_path / "store.db")
    front = set(results.pareto({"score": "max", "params": "min"})["number"])
    best = set(results.best(2)["number"])
    assert {int(path.name) for path in (tmp_path / "checkpoints").iterdir()} == front | best
    assert len(front - best) > 2
    again = limited(tmp_path, bound=49, search="random", trials=25, seed=8)
    assert {trial.number for trial in again.ranking.front} == front


def test_killed_while_a_trial_is_refused_it_stays_refused(tmp_path):
    """Asked and told are one write: there is no moment at which it could come back as one to train."""
    ledger = limited(tmp_path, search="random", trials=10)

    def killed(trial):
        if trial.state == "refused":
            raise KeyboardInterrupt

    ledger.searcher.tell = killed
    with pytest.raises(KeyboardInterrupt):
        run_all(ledger)
    ledger.store.close()
    again = limited(tmp_path, search="random", trials=10)
    assert [trial.state for trial in again.trials.values() if trial.config["n"] > 20] == ["refused"]
    run_all(again)
    assert {trial.state for trial in again.trials.values() if trial.config["n"] > 20} == {"refused"}


def test_a_network_that_cannot_be_counted_is_not_within_limits(tmp_path):
    more = {"cost": lambda config: None if config["n"] % 2 else {"params": 1}, "limits": (parse_limit("params <= 5"),)}
    ledger = open_ledger(tmp_path, search="random", trials=6, more=more)
    run_all(ledger)
    assert {trial.config["n"] % 2 for trial in ledger.trials.values() if trial.state == "done"} == {0}
    said = {trial.error for trial in ledger.trials.values() if trial.state == "refused"}
    assert said == {"its costs cannot be counted, and there are limits on them"}


def test_metrics_of_any_number_type_are_replayed(tmp_path):
    import decimal

    import torch

    goals = OBJECTIVES["pareto"](metrics={"score": "max", "size": "min"})
    ledger = open_ledger(tmp_path, search="random", trials=3, more={"scores": goals.scores})
    trial = ledger.next()
    ledger.hear(trial.number, 1, 1, {"score": torch.tensor(0.5), "size": decimal.Decimal(3)}, 0.5, 0.1)
    ledger.end(trial.number, 1, "done")
    ledger.store.close()
    again = open_ledger(tmp_path, search="random", trials=3, more={"scores": goals.scores})
    assert again.trials[0].scores == trial.scores == (0.5, -3.0)


def test_a_view_shows_what_was_refused(tmp_path):
    from raynas.run.progress import counts, ended

    ledger = limited(tmp_path, search="random", trials=6)
    run_all(ledger)
    assert counts(ledger)["done"] == ended(ledger) == 6
    assert counts(ledger)["refused"] == len(ledger.trials) - 6 > 0


def test_a_kill_costs_no_wall_time_of_the_budget(tmp_path):
    """The driver's time is on disk with every trial, not only at an orderly end."""
    ledger = open_ledger(tmp_path, trials=3)
    ledger.session_began -= 500.0
    run_one(ledger, ledger.next())
    ledger.store.close()  # and no `close`: killed
    assert 500.0 <= open_ledger(tmp_path, trials=3).elapsed_s < 600.0
