"""Frames against plain Python over the same reports: rungs, importances, comparisons, columns, and reading at once."""

import json
import math
import shutil
import sqlite3

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import tune
from test_cli import raynas
from test_ledger import limited, open_ledger, run_all, run_one

from raynas.results.columns import FRAMES, METRICS
from raynas.results.frames import objects
from raynas.results.importances import LEAST, decisions
from raynas.results.results import COLUMNS, Results
from raynas.results.rungs import milestones
from raynas.rng import stream
from raynas.space import read
from raynas.tables import InputError

GENOME = {"genome": {"layers": [4, 7], "filters": [8, 64], "kernels": [3, 5, 7]}}


def halved(ledger, rungs=(1, 3, 9)):
    """Train every trial, the lower half of a rung stopped there, each seventh failed after its first epoch."""
    while not isinstance(trial := ledger.next(), str):
        quality = (trial.number * 37) % 100 / 100
        for epoch in range(1, rungs[-1] + 1):
            ledger.hear(trial.number, 1, epoch, {"score": quality}, quality + epoch / 1000, 0.5)
            if epoch == 1 and trial.number % 7 == 6:
                ledger.end(trial.number, 1, "diverged", "nan")
                break
            if epoch in rungs[:-1] and quality < (0.3 if epoch == 1 else 0.6):
                ledger.end(trial.number, 1, None)
                break
        else:
            ledger.end(trial.number, 1, "done")
        ledger.reason = None
    ledger.close()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    ledger = open_ledger(folder, search="random", trials=50)
    halved(ledger)
    ledger.store.close()
    return Results(folder / "store.db")


def evolved(folder, search="random", seed=0, trials=8, **budget):
    folder.mkdir(parents=True, exist_ok=True)
    ledger = open_ledger(folder, search=search, seed=seed, trials=trials, **budget)
    run_all(ledger)
    ledger.close()
    return Results(folder / "store.db")


# -- rungs ---------------------------------------------------------------------------------------------------------


def test_rungs_are_those_of_the_reports(stopped):
    frame, curves, trials = stopped.rungs(), stopped.curves, stopped.trials.set_index("number")
    assert frame["epoch"].tolist() == [1, 3, 9]
    last = {number: int(part["epoch"].max()) for number, part in curves.groupby("number")}
    for _, row in frame.iterrows():
        there = curves[curves["epoch"] == row["epoch"]]
        assert row["reached"] == len(there)
        assert row["best"] == there["fitness"].max()
        assert row["median"] == there["fitness"].median()
        assert row["best_trial"] == there.loc[there["fitness"].idxmax(), "number"]
        for state in ("stopped", "done"):
            ended = [number for number, epoch in last.items() if epoch == row["epoch"]]
            assert row[state] == sum(trials.at[number, "state"] == state for number in ended)
    assert frame["failed"].tolist() == [0, (trials["state"] == "failed").sum(), 0]  # on the way from 1 to 3
    assert frame["seconds"].sum() == pytest.approx(curves["seconds"].sum())
    assert frame["stopped"].tolist()[2] == 0
    assert frame["stopped"].sum() + frame["done"].sum() + frame["failed"].sum() == len(trials)


@pytest.mark.parametrize(("grace", "reduction", "last"), [(1, 3.0, 27), (2, 4.0, 50), (1, 1.5, 10), (3, 3.0, 3)])
def test_milestones_are_rays(grace, reduction, last):
    from ray.tune.schedulers import ASHAScheduler

    theirs = ASHAScheduler(
        time_attr="epoch", metric="fitness", mode="max", max_t=last, grace_period=grace, reduction_factor=reduction
    )
    decided = {math.ceil(rung) for rung, _ in theirs._brackets[0]._rungs}
    ours = milestones({"name": "asha", "grace": grace, "reduction": reduction}, last)
    assert {epoch for epoch in decided if epoch <= last} == ours
    assert milestones({"name": "median"}, last) == set()


def test_rungs_of_any_experiment(tmp_path):
    assert evolved(tmp_path / "whole").rungs()["epoch"].tolist() == [2]
    assert len(Results(empty(tmp_path)).rungs()) == 0


def empty(folder):
    (folder / "empty").mkdir()
    open_ledger(folder / "empty", trials=3).close()
    return folder / "empty" / "store.db"


# -- importances ---------------------------------------------------------------------------------------------------


def trained(folder, space, fitness, trials=60, epochs=1):
    """A search of which we know what matters."""
    ledger = open_ledger(folder, space=space, search="random", trials=trials)
    while not isinstance(trial := ledger.next(), str):
        for epoch in range(1, epochs + 1):
            ledger.hear(trial.number, 1, epoch, {"score": 0.0}, fitness(trial.config), 0.1)
        ledger.end(trial.number, 1, "done")
    ledger.close()
    return Results(folder / "store.db")


def test_what_matters_is_found(tmp_path):
    space = {"architecture": GENOME, "lr": tune.loguniform(1e-4, 1e-1), "idle": tune.uniform(0.0, 1.0), "fixed": 3}
    results = trained(tmp_path, space, lambda config: -abs(math.log10(config["lr"]) + 2) + 0.02 * config["idle"])
    frame = results.importances(repeats=2)
    assert frame["name"].iloc[0] == "lr"
    assert frame["importance"].iloc[0] > 0.5 > frame["importance"].iloc[1]
    assert frame["importance"].is_monotonic_decreasing
    assert (frame["spread"] > 0).any()
    assert set(frame["name"]) == set(read(space).flat())
    assert set(frame["kind"][frame["name"].str.startswith("architecture.")]) == {"architecture"}
    active = frame.set_index("name")["active"]
    depths = [len(text.split(";")) for text in results.trials["architecture"]]
    assert active["architecture.6.filters"] == pytest.approx(np.mean(np.array(depths) >= 7))
    assert active["architecture.1.filters"] == active["lr"] == 1
    again = Results(results.path).importances(repeats=2)
    pd.testing.assert_frame_equal(frame, again)


def test_an_architecture_that_matters_is_named_by_its_gene(tmp_path):
    """Depth alone matters; that a deep network has a sixth layer's filters must not be theirs."""
    space = {"architecture": GENOME, "x": tune.uniform(0, 1)}
    frame = trained(tmp_path, space, lambda config: config["architecture"].count(";")).importances(repeats=2)
    assert frame["name"].iloc[0] == "architecture.layers"
    assert frame["importance"].iloc[0] > 0.9


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_a_decision_matters_where_it_changes_the_config(seed):
    """Of a genome with d layers the genes of layers 1 to d - 1 matter and no others."""
    space = read({"architecture": GENOME})
    config = space.sample(stream(seed, 0))
    depth = len(config["architecture"].split(";"))
    for name, (place,) in decisions(space, [config]).items():
        layer = name.split(".")[1]
        if layer.isdigit():
            assert (place is not None) is (int(layer) < depth)


def test_stopped_trials_are_judged_where_all_were(stopped):
    frame = stopped.importances(repeats=2)
    assert set(frame["epoch"]) == {3}  # 1 is where all were; half of them reached 3, too few 9
    own = stopped.trials[stopped.trials["state"].isin(["done", "stopped"])]["number"]
    assert frame["trials"].iloc[0] == (stopped.curves["number"].isin(own) & (stopped.curves["epoch"] == 3)).sum()


def test_importances_that_nobody_can_know_are_refused(tmp_path):
    for name, space, fitness, trials, said in (
        ("few", {"x": tune.uniform(0, 1)}, lambda c: c["x"], LEAST - 1, f"need {LEAST} trials"),
        ("equal", {"x": tune.uniform(0, 1)}, lambda c: 0.5, 20, "the same fitness"),
    ):
        (tmp_path / name).mkdir()
        with pytest.raises(InputError, match=said):
            trained(tmp_path / name, space, fitness, trials).importances()


# -- comparisons ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Four seeds of random search, four of a search that is always better, on one space."""
    folder, found = tmp_path_factory.mktemp("seeds"), []
    for search in ("random", "regularized-evolution"):
        for seed in range(4):
            place = folder / f"{search}-{seed}"
            place.mkdir()
            ledger = open_ledger(place, search=search, seed=seed, trials=6 + seed)
            while not isinstance(trial := ledger.next(), str):
                gain = 2.0 if search != "random" else 0.0
                ledger.hear(trial.number, 1, 1, {}, trial.config["x"] + gain, 2.0)
                ledger.end(trial.number, 1, "done")
            ledger.store.update_experiment(
                name=place.name, spec={**ledger.store.experiment()["spec"], "search": {"name": search}}
            )
            ledger.close()
            found.append(Results(place / "store.db"))
    return found


def test_compare_is_the_best_so_far(seeds):
    frame = seeds[0].compare(*seeds[1:])
    assert frame.groupby("experiment").size().to_dict() == {each.name: len(each.trials) for each in seeds}
    for each in seeds:
        mine = frame[frame["experiment"] == each.name]
        fitness = each.trials.sort_values("ended")["fitness"].tolist()
        assert mine["best"].tolist() == [max(fitness[: n + 1]) for n in range(len(fitness))]
        assert mine["trials"].tolist() == list(range(1, len(fitness) + 1))
        assert mine["seconds"].is_monotonic_increasing
        assert mine["cpu_hours"].tolist() == pytest.approx([2.0 * n / 3600 for n in mine["trials"]])
        assert (mine["gpu_hours"] == 0).all()


def test_stopped_trials_are_no_winners(stopped, tmp_path):
    """They are the best so far only while there are no others, as `best` has it."""
    ledger = open_ledger(tmp_path, search="random", trials=5)
    for fitness, fate in ((0.9, None), (0.5, "done"), (0.95, None), (0.4, "done"), (0.6, "done")):
        trial = ledger.next()
        ledger.hear(trial.number, 1, 1, {}, fitness, 0.1)
        ledger.end(trial.number, 1, fate)
    ledger.close()
    results = Results(tmp_path / "store.db")
    assert results.compare()["best"].tolist() == [0.9, 0.5, 0.5, 0.5, 0.6]
    assert results.compare()["best"].iloc[-1] == results.best()["fitness"].iloc[0]
    assert len(stopped.compare()) == len(stopped.trials)


def test_ranks_are_scipys_at_equal_trials(seeds):
    (row,) = seeds[0].rank_test(*seeds[1:]).to_dict("records")
    assert (row["one"], row["other"], row["n_one"], row["n_other"]) == ("random", "regularized-evolution", 4, 4)
    assert row["trials"] == 6  # what the shortest had
    assert row["u"] == 0
    assert row["p"] == row["p_least"] == pytest.approx(2 / math.comb(8, 4))
    assert row["said"].startswith("regularized-evolution is better")
    (turned,) = seeds[4].rank_test(*seeds[5:], *seeds[:4]).to_dict("records")
    assert (turned["one"], turned["u"]) == ("regularized-evolution", 16)
    assert turned["said"] == row["said"]
    best = [each.trials.sort_values("ended")["fitness"].head(6).max() for each in seeds[:4]]
    assert row["median_one"] == np.median(best)


def test_too_few_seeds_say_so(seeds):
    (row,) = seeds[0].rank_test(*seeds[1:3], *seeds[4:7]).to_dict("records")
    assert (row["n_one"], row["n_other"]) == (3, 3)
    assert pd.isna(row["p"])
    assert row["said"].startswith("too few to tell: p is at least 0.1")


def test_what_cannot_be_compared_is_refused(seeds, stopped, tmp_path):
    with pytest.raises(InputError, match="all of them have the same search"):
        seeds[0].rank_test(seeds[1])
    with pytest.raises(InputError, match="Did you mean 'search'"):
        seeds[0].rank_test(seeds[4], by="serch")
    with pytest.raises(InputError, match="named twice"):
        seeds[0].compare(seeds[0])
    shutil.copy(seeds[1].path, tmp_path / "store.db")
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("UPDATE experiments SET spec = json_set(spec, '$.objective.fitness', 'loss')")
    with pytest.raises(InputError, match="not the same thing"):
        seeds[0].compare(Results(tmp_path / "store.db"))
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute(
            "UPDATE experiments SET spec = json_set(spec, '$.objective.fitness', 'accuracy'), data = '{}'"
        )
        connection.execute("""UPDATE experiments SET data = '{"digest": "other"}'""")
    with pytest.raises(InputError, match="different data"):
        seeds[0].compare(Results(tmp_path / "store.db"))
    with pytest.raises(InputError, match="no trial that ended"):
        seeds[0].rank_test(Results(empty(tmp_path)))


# -- columns -------------------------------------------------------------------------------------------------------


def test_columns_are_as_documented(stopped, seeds, tmp_path):
    genetic = limited(tmp_path, search="genetic", options={"population": 4}, trials=12)
    run_all(genetic)
    genetic.close()
    made = {
        "trials": stopped.trials,
        "curves": stopped.curves,
        "generations": Results(tmp_path / "store.db").generations(),
        "rungs": stopped.rungs(),
        "importances": stopped.importances(repeats=2),
        "compare": seeds[0].compare(*seeds[1:]),
        "rank_test": seeds[0].rank_test(*seeds[4:]),
    }
    assert set(made) == set(FRAMES)
    for name, frame in made.items():
        assert set(FRAMES[name]) <= set(frame.columns), name
        if name not in ("trials", "curves"):
            assert list(FRAMES[name]) == list(frame.columns), name
        for column, known in FRAMES[name].items():
            assert str(frame[column].dtype) == known.dtype, f"{name}.{column}"
            assert known.meaning
    nothing = Results(empty(tmp_path))
    for name in ("trials", "curves", "rungs", "compare"):
        frame = getattr(nothing, name)
        frame = frame() if callable(frame) else frame
        assert len(frame) == 0
        for column, known in FRAMES[name].items():
            assert str(frame[column].dtype) == known.dtype, f"empty {name}.{column}"


def test_columns_of_an_experiment_are_described(stopped):
    for name in FRAMES:
        described = stopped.columns(name).set_index("column")
        assert set(FRAMES[name]) <= set(described.index)
        assert (described["meaning"].str.len() > 0).all()
    described = stopped.columns().set_index("column")
    assert "uniform" in described.at["x", "meaning"]
    assert described.at["score", "meaning"] == "reported by the training"
    assert list(stopped.columns()["column"]) == list(stopped.trials.columns)
    assert list(COLUMNS) == list(FRAMES["trials"])
    with pytest.raises(InputError, match="Did you mean 'rungs'"):
        stopped.columns("rung")


def test_metrics_of_the_training_are_documented():
    from raynas.train.fit import fit

    assert fit.__doc__ is not None
    names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr_last", "images_per_s")
    assert set(names) <= set(METRICS)


@pytest.mark.parametrize("condition", ["fitnes > 0.5", "trials.fitnes > 0.5"])
def test_an_unknown_column_gets_the_nearest_name(stopped, condition):
    with pytest.raises(InputError, match="unknown column 'fitnes'. Did you mean 'fitness'"):
        stopped.where(condition)


# -- reading -------------------------------------------------------------------------------------------------------

values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8), st.sampled_from(["2024-01-01", "1", "", "a\nb"]), st.lists(st.integers(), max_size=2),
)  # fmt: skip


@given(st.lists(st.none() | st.dictionaries(st.sampled_from(["a", "b", "c"]), values, max_size=3), max_size=6))
@settings(max_examples=40, deadline=None)
def test_reading_at_once_is_reading_one_by_one(rows):
    lines = [json.dumps(row, separators=(",", ":")) for row in rows]
    frame = objects("\n".join(lines), len(lines))
    assert len(frame) == len(rows)
    for index, row in enumerate(rows):
        for name in frame.columns:
            wanted, got = (row or {}).get(name), frame[name].iloc[index]
            if wanted is None:
                assert pd.isna(got)
            elif isinstance(wanted, list):
                assert json.loads(got) == wanted
            elif isinstance(wanted, int) and not isinstance(wanted, bool) and frame[name].dtype.kind == "f":
                assert got == float(wanted)  # beside missing or broken numbers, as pandas has it
            else:
                assert got == wanted


def test_all_reports_are_there_in_order(tmp_path):
    """More than one batch of them, with metrics that come and go."""
    ledger = open_ledger(tmp_path, search="random", trials=3)
    while not isinstance(trial := ledger.next(), str):
        for epoch in range(1, 152):
            more = {"late": epoch} if epoch > 149 else {}
            ledger.hear(trial.number, 1, epoch, {"score": epoch / 7, **more}, epoch / 3, 0.001)
        ledger.end(trial.number, 1, "done")
    ledger.close()
    results = Results(tmp_path / "store.db")
    curves, trials = results.curves, results.trials
    assert trials["epochs"].tolist() == [151] * 3
    assert trials["score"].tolist() == [151 / 7] * 3  # of the last report
    assert curves["number"].tolist() == [number for number in range(3) for _ in range(151)]
    assert curves["epoch"].tolist() == list(range(1, 152)) * 3
    assert curves["fitness"].tolist() == [epoch / 3 for epoch in range(1, 152)] * 3
    assert curves["score"].tolist() == [epoch / 7 for epoch in range(1, 152)] * 3
    assert curves["late"].dropna().tolist() == [150.0, 151.0] * 3


def test_a_copied_store_is_enough(stopped, tmp_path):
    shutil.copy(stopped.path, tmp_path / "elsewhere.db")
    (tmp_path / "elsewhere.db").chmod(0o444)
    copy = Results(tmp_path / "elsewhere.db")
    pd.testing.assert_frame_equal(copy.trials, stopped.trials)
    pd.testing.assert_frame_equal(copy.rungs(), stopped.rungs())
    pd.testing.assert_frame_equal(copy.sql("SELECT count(*) FROM curves"), stopped.sql("SELECT count(*) FROM curves"))


def test_everything_works_while_it_runs(tmp_path):
    ledger = open_ledger(tmp_path, search="random", trials=40)
    for _ in range(20):
        run_one(ledger, ledger.next())
    running = ledger.next()
    ledger.hear(running.number, 1, 1, {"score": 0.0}, 0.5, 0.1)
    results = Results(tmp_path / "store.db")  # the driver still has it open
    assert results.trials["state"].tolist() == ["done"] * 20 + ["running"]
    assert results.rungs()["reached"].tolist() == [20]
    assert len(results.compare()) == 20
    assert results.importances(repeats=2)["trials"].iloc[0] == 20
    assert results.config(running.number) == running.config
    with pytest.raises(InputError, match="there is no trial 99"):
        results.config(99)
    ledger.close()


# -- on the command line -----------------------------------------------------------------------------------------------


def test_commands_show_frames(seeds, stopped, tmp_path):
    home = seeds[0].path.parents[1]
    code, said = raynas("compare", *(each.name for each in seeds), "--output", tmp_path / "all.csv", home=home)
    assert code == 0
    assert "regularized-evolution is better (p = 0.029)" in said
    assert len(pd.read_csv(tmp_path / "all.csv")) == sum(len(each.trials) for each in seeds)
    code, said = raynas("compare", "random-0", "random-1", home=home)
    assert code == 0
    assert "no test: all of them have the same search" in said
    code, said = raynas("compare", "random-0", "random-1", "--by", "serch", home=home)
    assert code == 2
    assert said.startswith("error: unknown part of an experiment 'serch'. Did you mean 'search'?")
    assert raynas("compare", "random-0", home=home) == (2, "error: name two experiments or more, got random-0\n")
    code, said = raynas("results", stopped.folder, "--view", "rungs", "--format", "csv")
    assert code == 0
    assert said.splitlines()[0] == ",".join(FRAMES["rungs"])
    code, said = raynas("results", stopped.folder, "--view", "rungs", "--columns", "--format", "csv")
    assert code == 0
    assert [line.split(",")[0] for line in said.splitlines()[1:]] == list(FRAMES["rungs"])
    code, said = raynas("results", stopped.folder, "--where", "fitnes > 1")
    assert code == 2
    assert "Did you mean 'fitness'" in said
    code, said = raynas("report", stopped.folder, "--output", tmp_path / "report.html")
    assert code == 0
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
