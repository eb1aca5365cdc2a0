"""Benchmarks: their statistics against closed forms, and one small run of those that need no data."""

import math
from dataclasses import replace

import numpy as np
import pytest
from test_cli import raynas as command
from test_tabular import real

from raynas.bench.quality import CONTESTANTS, Searched, _at, _figure, _padded, _protocol, _regrets, p_value, search_once
from raynas.bench.scaling import busy
from raynas.bench.searchers import difference
from raynas.bench.stopping import STOPS, _ratios
from raynas.run.simulate import Driver, Simulator, plan_simulation


def test_p_values_are_those_of_the_normal_distribution():
    one, other = np.array([0.0, 2.0] * 50), np.array([1.0, 3.0] * 50)
    spread = 2 * np.var([0.0, 2.0] * 50, ddof=1) / 100
    assert p_value(one, other) == pytest.approx(math.erfc(1 / math.sqrt(spread) / math.sqrt(2)))
    assert p_value(one, one) == 1.0
    assert p_value(np.zeros(3), np.zeros(3)) == 1.0


def test_differences_are_of_pairs():
    """Student's 95 % interval of 1, 2, 3: 2 +- 4.303 / sqrt(3)."""
    assert difference([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.303 / math.sqrt(3)))


def test_curves_keep_their_best():
    run = Searched(np.array([1.0, 3.0, 3.0, 5.0]), np.array([10.0, 20.0, 30.0, 40.0]), (), 4)
    assert _padded(run.best, 6).tolist() == [1, 3, 3, 5, 5, 5]
    assert _padded(run.best, 2).tolist() == [1, 3]
    assert _at(run, (5, 10, 29, 40, 99)).tolist() == [1, 1, 3, 5, 5]


@pytest.mark.parametrize("name", CONTESTANTS)
def test_contestants_search_the_real_table(name):
    path = real("nasbench201.npz").removeprefix("tabular:")
    real("nasbench201_zero_cost.npz")
    found = search_once(name, path, 20, 900.0, 3)
    assert (np.diff(found.best) >= 0).all()
    assert (np.diff(found.seconds) > 0).all()
    assert len(found.best) == 20
    assert found.cells == (found.seconds <= 900).sum() < 20
    assert len(found.finals) == 6
    assert 50 < found.finals[1] < 94.38


def test_the_tables_and_the_picture_of_quality_are_of_the_searches():
    """Two seeds each: the best cell has 10 %; random ends at 3 and 5, the other finds it after 2 and 4 cells."""
    seconds, finals = np.arange(1.0, 21.0) * 1000, (91.0, 94.0) * 3
    others = (90.0, 93.0) * 3
    searches = {
        "random": [Searched(np.linspace(0.01, top, 20), seconds, final, 12) for top, final in ((0.03, finals), (0.05, others))],
        "good": [Searched(np.where(np.arange(20) < place, 0.0, 0.1), seconds, finals, 12) for place in (1, 3)],
    }  # fmt: skip
    made = _protocol(searches)
    shown = dict(
        zip(made.columns[0]._cells, zip(*(column._cells for column in made.columns[1:]), strict=True), strict=True)
    )
    assert shown["random, published"][1] == "90.93 ± 0.36, 93.70 ± 0.36"
    assert shown["random"] == ("12", *["90.50 ± 0.71, 93.50 ± 0.71"] * 3)
    made = _regrets(searches, optimum=0.1, queries=20)
    found = {column.header: column._cells for column in made.columns}
    assert found["best found"] == ["0%", "100%"]
    assert found["after"] == ["> 20", "3"]
    assert found["10 cells"][1] == "0.00 ± 0.00"
    assert found["12,000 s"][1] == "0.00 ± 0.00"
    assert float(found["p at 20"][1]) < 0.01
    figure = _figure(searches, optimum=0.1, queries=20)
    curves = {trace.name: trace for trace in figure.data if trace.name and trace.showlegend}
    assert set(curves) == set(searches)
    assert curves["random"].y[-1] == pytest.approx(100 * (0.1 - 0.04))
    assert len(figure.data) == 2 * 2 * len(searches)  # a curve and its band, against cells and against seconds


def test_early_stopping_is_measured_on_the_real_curves():
    data = real("taskset_rnn.npz") + "#4"
    found = [dict(zip(STOPS, _ratios(data, 16, seed), strict=True)) for seed in range(5)]
    assert all(0 < ratios["none"] <= 1 for ratios in found)
    assert np.median([ratios["asha, grace 2, reduction 4"] for ratios in found]) < 0.4


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_a_driver_feeds_as_many_workers_as_it_has_time_for(workers):
    """Trials of 10 s, a result costs 1 s: one worker is busy 10 s of 11, eleven would keep the driver busy, more wait."""
    plan = plan_simulation({"data": real("nasbench201.npz") + "#cifar10", "search": "random"})
    table = replace(plan.table, seconds=np.full_like(plan.table.seconds, 10.0))
    driver = Driver(handling_s=1.0)
    made = Simulator(
        table,
        plan.space,
        plan.searcher(),
        plan.objective,
        workers=workers,
        trials=400,
        epochs=12,
        driver=driver,
        merge=False,
    )
    run = made.run()
    assert len(run.ended) == 400
    rate = min(workers / 11, 1.0)
    assert run.ended[-1][0] == pytest.approx(400 / rate, rel=0.1)
    assert busy(run, table.seconds[:, 0], workers, made.asked_s) == pytest.approx(10 * rate / workers, rel=0.1)


def test_scaling_says_what_it_measured():
    table = real("nasbench201.npz").removeprefix("tabular:")
    options = ("workers=[1,20]", "only=[random]", "seeds=1", "handling_ms=20", "rounds=2", "regret=5")
    code, output = command("bench", "scaling", f"table={table}", *options)
    assert code == 0, output
    lines = [line.split() for line in output.splitlines() if line.split()[:1] == ["random"]]
    assert [int(line[1]) for line in lines] == [1, 20]
    assert all(99 < float(line[2].rstrip("%")) <= 100 for line in lines)


def test_a_missing_table_is_said():
    code, output = command("bench", "quality", "table=nowhere.npz")
    assert code == 2
    assert "cannot read the table" in output


def test_a_supernet_that_runs_every_operation_computes_the_same():
    """The benchmark's plain way is checked against the path before either is timed."""
    code, output = command("bench", "oneshot", "layers=1", "channels=2", "batch=4", "side=8", "steps=1", "repeats=1")
    assert code == 0, output
    assert "the child's path / every operation" in output


@pytest.mark.slow
def test_found_cells_are_compared_with_random_ones():
    code, output = command("bench", "arcs", "seeds=2", "search_epochs=1", "epochs=1", "layers=1", "channels=2")
    assert code == 0, output
    assert "searched cells" in output
