"""Results: typed frames, one rule for the best, SQL that only reads."""

import pandas as pd
import pytest
from test_ledger import open_ledger, run_all, run_one

from raynas.results.results import COLUMNS, Results
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
