"""Results: typed frames, one rule for the best, SQL that only reads."""

import errno
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from test_ledger import limited, open_ledger, run_all, run_one

from raynas.results.database import on_own_disk
from raynas.results.results import COLUMNS, Results
from raynas.run.folders import locked
from raynas.tables import InputError


@pytest.fixture
def results(tmp_path):
    ledger = open_ledger(tmp_path, trials=8)
    for fate in ("done", None, "diverged", "done"):
        trial = ledger.next()
        ledger.hear(
            trial.number,
            1,
            1,
            {"score": 0.5, "note": "a"},
            0.9 if fate is None else 0.5 + trial.number / 100,
            0.5,
            "here",
        )
        ledger.end(trial.number, 1, fate, "the loss is nan" if fate == "diverged" else None)
    run_one(ledger, ledger.next())
    ledger.close()
    return Results(tmp_path / "store.db")


def test_one_row_a_trial_with_types(results):
    frame = results.trials
    assert len(frame) == 5
    assert set(COLUMNS) | {"x", "n", "score"} <= set(frame.columns)
    assert frame["x"].dtype == "float64"
    assert frame["n"].dtype == "int64"
    assert str(frame["epochs"].dtype) == "Int64"
    assert str(frame["ended"].dtype).startswith("datetime64")
    assert list(frame["state"]) == ["done", "stopped", "failed", "done", "done"]
    assert frame["node"].iloc[0] == "here"
    assert frame["fitness"].isna().tolist() == [False, False, True, False, False]


def test_curves_hold_stopped_and_failed_trials_too(results):
    assert results.curves.groupby("number").size().to_dict() == {0: 1, 1: 1, 2: 1, 3: 1, 4: 2}


def test_best_prefers_trials_that_trained_to_their_end(results):
    assert 1 not in results.best(5)["number"].tolist()  # stopped early at 0.9, higher than any done one
    best = results.best(2)
    assert best["fitness"].is_monotonic_decreasing
    assert best["fitness"].iloc[0] == results.trials.query("state == 'done'")["fitness"].max()


def test_best_row_is_the_best_config(results):
    row = results.best().iloc[0]
    same = results.trials[results.trials["number"] == row["number"]].iloc[0]
    assert (row["x"], row["n"]) == (same["x"], same["n"])


def test_sql_reads_and_only_reads(results):
    counted = results.sql("SELECT state, count(*) AS n FROM trials GROUP BY state ORDER BY n DESC")
    assert counted["n"].sum() == 5
    assert len(results.sql("SELECT t.x, c.epoch FROM trials t JOIN curves c ON t.number = c.number")) == 6
    for query in (
        "DELETE FROM trials",
        "ATTACH 'x.db' AS other",
        "DROP TABLE trials",
        "SELECT nonsense FROM trials",
        "",
    ):
        with pytest.raises(InputError, match="cannot run"):
            results.sql(query)


def test_where_keeps_types(results):
    kept = results.where("fitness > 0.5 and state = 'done'")
    assert str(kept["epochs"].dtype) == "Int64"
    assert (kept["fitness"] > 0.5).all()


MOUNTS = """\
/dev/vda1 / ext4 rw 0 0
server:/all /mnt/all nfs4 rw 0 0
/dev/vdb /mnt/all/own\\040disk xfs rw 0 0
overlay /pod overlay rw 0 0
/dev/vdc /pod/twice ext4 rw 0 0
bucket /pod/twice fuse.s3fs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "own"),
    [("/home/me", True), ("/mnt", True), ("/mnt/all/runs", False), ("/mnt/allowed", True), ("/mnt/all/own disk/runs", True),
     ("/pod/runs", True), ("/pod/twice/runs", False)],
)  # fmt: skip
def test_a_disk_that_other_machines_see_is_known_by_its_kind(path, own, tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert on_own_disk(Path(path) / "store.db", mounts) is own
    assert on_own_disk(Path(path) / "store.db", tmp_path / "nothing")  # a system without such a list


def test_a_store_on_a_shared_disk_has_no_memory_beside_it(tmp_path, monkeypatch):
    """SQLite's write-ahead log wants memory that all readers share; a reader in between sees whole trials either way."""
    monkeypatch.setattr("raynas.results.database.on_own_disk", lambda path: False)
    ledger = open_ledger(tmp_path, trials=8)
    run_one(ledger, ledger.next())
    assert [path.name for path in tmp_path.glob("store.db*")] == ["store.db"]
    assert len(Results(tmp_path / "store.db").trials) == 1
    run_one(ledger, ledger.next())
    assert len(Results(tmp_path / "store.db").trials) == 2
    ledger.close()


KILLED = """
import os, sys
from pathlib import Path
import raynas.results.database as database
database.on_own_disk = lambda path: False
from raynas.results import Store
store = Store.open(Path(sys.argv[1]), writable=True)
with store.writing() as connection:
    connection.exec_driver_sql("PRAGMA cache_size=1")
    for text in ("x" * 200_000, "y" * 200_000):
        connection.exec_driver_sql("UPDATE trials SET error = ?", (text,))
    os._exit(9)
"""


def test_a_driver_killed_in_the_middle_of_a_commit_leaves_a_store_that_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr("raynas.results.database.on_own_disk", lambda path: False)
    ledger = open_ledger(tmp_path, trials=8)
    run_one(ledger, ledger.next())
    ledger.close()
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "store.db")])
    assert ended.returncode == 9
    assert (tmp_path / "store.db-journal").stat().st_size > 0  # half of it is in the file
    assert list(Results(tmp_path / "store.db").trials["error"].isna()) == [True]


def test_a_disk_without_locks_is_said(tmp_path, monkeypatch):
    def no_locks(file, kind):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(InputError, match="no file locks .Function not implemented"), locked(tmp_path / "mine"):
        pass


def test_works_while_it_runs(tmp_path):
    ledger = open_ledger(tmp_path, trials=4)
    results = Results(tmp_path / "store.db")
    assert len(results.trials) == 0
    assert results.best().empty
    assert "no trials" in repr(results)
    trial = ledger.next()
    assert results.refresh().trials["state"].tolist() == ["running"]
    run_one(ledger, trial)
    run_all(ledger)
    assert len(results.trials) == 1  # what was read stays until refreshed
    assert len(results.refresh().trials) == 4


def test_frames_survive_a_trip_through_parquet(results, tmp_path):
    results.trials.to_parquet(tmp_path / "trials.parquet")
    back = pd.read_parquet(tmp_path / "trials.parquet")
    assert list(back.columns) == list(results.trials.columns)
    assert back["x"].tolist() == results.trials["x"].tolist()


# -- generations, lineage, fronts ----------------------------------------------------------------------------------


@pytest.fixture
def evolved(tmp_path):
    """A finished genetic search on the trivial space; its trials cost `n` parameters."""
    ledger = limited(tmp_path, search="genetic", options={"population": 4, "manner": "generational"}, trials=16)
    run_all(ledger)
    ledger.close()
    return ledger, Results(tmp_path / "store.db")


def test_generations_are_best_mean_and_worst(evolved):
    ledger, results = evolved
    frame, so_far = results.generations(), -9.0
    assert frame["generation"].tolist() == [0, 1, 2, 3]
    for _, row in frame.iterrows():
        members = [
            trial
            for trial in ledger.trials.values()
            if trial.origin["generation"] == row["generation"] and trial.state == "done" and trial.duplicate_of is None
        ]
        fitness = [trial.fitness for trial in members]
        so_far = max(so_far, *fitness)
        assert row["trials"] == row["judged"] == len(members)
        assert row["best"] == max(fitness)
        assert row["mean"] == pytest.approx(sum(fitness) / len(fitness))
        assert row["worst"] == min(fitness)
        assert ledger.trials[row["best_trial"]].fitness == row["best"]
        assert row["best_so_far"] == so_far


def test_lineage_goes_back_to_generation_0(evolved):
    ledger, results = evolved
    winner = int(results.best()["number"].iloc[0])
    frame = results.lineage()
    assert frame["number"].iloc[-1] == winner
    assert frame["generation"].is_monotonic_increasing
    found = set(frame["number"])
    for _, row in frame.iterrows():
        assert row["parents"] == ledger.trials[row["number"]].origin.get("parents", [])
        assert set(row["parents"]) <= found
        assert (row["generation"] == 0) is (row["parents"] == [])
    children = {parent for row in frame["parents"] for parent in row}
    assert found == children | {winner}  # nobody who is no ancestor
    assert results.lineage(0)["number"].tolist() == [0]
    with pytest.raises(InputError, match="there is no trial 999"):
        results.lineage(999)


def test_a_search_without_generations_says_so(tmp_path):
    ledger = open_ledger(tmp_path, search="random", trials=3)
    run_all(ledger)
    ledger.close()
    with pytest.raises(InputError, match="keeps no generations; genetic"):
        Results(tmp_path / "store.db").generations()


def test_the_front_is_what_nothing_beats(evolved):
    _, results = evolved
    frame = results.trials.query("state == 'done' and duplicate_of.isna()", engine="python")
    modes = {"score": "max", "params": "min"}
    front = results.pareto(modes)
    assert front["score"].is_monotonic_decreasing
    assert front["params"].is_monotonic_decreasing  # less score must buy fewer parameters
    for _, row in frame.iterrows():
        better = frame[(frame["score"] >= row["score"]) & (frame["params"] <= row["params"])]
        alone = (better[["score", "params"]] == row[["score", "params"]].to_numpy()).all(axis=None)
        assert (row["number"] in front["number"].tolist()) is bool(alone and better["number"].iloc[0] == row["number"])
    reference = {"score": -1.0, "params": 100}
    best = front.iloc[0]
    assert results.hypervolume(modes, reference) >= (best["score"] + 1) * (100 - best["params"])
    assert results.hypervolume(modes, {"score": 1.0, "params": 100}) == 0
    assert results.hypervolume(modes) > 0


@pytest.mark.parametrize(
    ("modes", "said"),
    [
        (None, "say which metrics"),
        ({"score": "max"}, "a front is of two metrics or more"),
        ({"scre": "max", "params": "min"}, "Did you mean 'score'"),
        ({"score": "maximum", "params": "min"}, "unknown mode 'maximum'"),
        ({"state": "max", "params": "min"}, "unknown metric 'state'"),
    ],
)
def test_fronts_are_asked_for_rightly(evolved, modes, said):
    with pytest.raises(InputError, match=said):
        evolved[1].pareto(modes)


@pytest.mark.parametrize("what", ["generations", "lineage", "pareto"])
def test_plots_show_what_the_views_say(evolved, what):
    _, results = evolved
    figure = results.plot(what, {"score": "max", "params": "min"})
    traces = {trace.name: trace for trace in figure.data}
    if what == "generations":
        assert list(traces["best"].y) == results.generations()["best"].tolist()
        assert list(traces["worst"].y) == results.generations()["worst"].tolist()
    elif what == "lineage":
        assert list(traces["ancestors"].text) == [str(number) for number in results.lineage()["number"]]
    else:
        front = results.pareto({"score": "max", "params": "min"})
        assert sorted(traces["front"].y) == sorted(front["score"])
        assert sorted(traces["front"].x) == sorted(front["params"])
    assert len(traces["done"].x) == 16
    with pytest.raises(InputError, match="Did you mean 'lineage'"):
        results.plot("linage")


def test_costs_that_a_training_reports_itself_are_in_the_table(tmp_path):
    ledger = open_ledger(tmp_path, search="random", trials=4)
    while not isinstance(trial := ledger.next(), str):
        ledger.hear(trial.number, 1, 1, {"score": 0.1 * trial.number, "params": 100 - trial.number}, 0.5, 0.1)
        ledger.end(trial.number, 1, "done")
    ledger.close()
    results = Results(tmp_path / "store.db")
    assert results.trials["params"].tolist() == [100, 99, 98, 97]
    assert len(results.pareto({"score": "max", "params": "min"})) == 1
