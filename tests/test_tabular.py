"""Trials answered from tables: the tables themselves, through Ray, and in simulated time."""

import os
from pathlib import Path

import numpy as np
import pytest
from ray import tune
from ray.tune import schedulers
from test_cli import raynas as command
from test_ledger import open_ledger, run_all

import raynas
from raynas.data.tabular import Table, load_table
from raynas.objectives import OBJECTIVES
from raynas.results.results import Results
from raynas.rng import stream
from raynas.run.experiment import Experiment
from raynas.run.plan import make_plan
from raynas.run.recorded import recorded
from raynas.run.schedulers import SCHEDULERS, Work
from raynas.run.simulate import Simulator, outcome, plan_simulation
from raynas.searchers import SEARCHERS
from raynas.settings import check, construct
from raynas.space import Cell, kinds, read
from raynas.tables import InputError

REAL = Path(os.environ.get("RAYNAS_DATA", Path(__file__).parents[2] / "shared" / "data"))


def cell_table(folder, **changes):
    """A table in the layout of NAS-Bench-201's, of all 64 cells of two operations: 3x3 convolutions are good and slow."""
    cells = kinds.levels(Cell(nodes=4, operations=["skip_connect", "nor_conv_3x3"]))
    threes = np.array([cell.count("nor_conv_3x3") for cell in cells])
    columns = {
        "arch_str": np.array(cells, dtype=np.bytes_),
        "cifar10_valid_acc_e12": 50.0 + threes,
        "cifar10_valid_acc_e200": 80.0 + threes,
        "cifar10_test_acc_e200": 81.0 + threes,
        "cifar10_train_seconds_e200": 1000.0 * (1 + threes),
        "cifar10_latency_seconds": 0.01 * (1 + threes),
        "cifar10_params": (1000 * (1 + threes)).astype(np.int32),
    } | changes
    path = folder / "cells.npz"
    np.savez(path, **{name: value for name, value in columns.items() if value is not None})
    return f"tabular:{path}#cifar10"


CELLS = kinds.levels(Cell(nodes=4, operations=["skip_connect", "nor_conv_3x3"]))[:15]
SPACE = {
    "model": "nas_bench_201",
    "architecture": {"cell": {"nodes": 4, "operations": ["skip_connect", "nor_conv_3x3"]}},
}


def simulator(data, search="random", seed=0, stop="none", options=None, **given):
    table = load_table(data) if isinstance(data, str) else data
    space = read(SPACE if isinstance(data, str) else data.parameters)
    searcher = construct(SEARCHERS[search], options or {}, "search", space, seed)
    scheduler = construct(SCHEDULERS[stop], {}, "stop", Work(table.epochs[-1], {}, True))
    objective = OBJECTIVES["metric"](metric=next(iter(table.metrics)))
    return Simulator(table, space, searcher, objective, scheduler, **given)


# -- tables --------------------------------------------------------------------------------------------------------


def test_a_row_reports_what_is_recorded(tmp_path):
    table = load_table(cell_table(tmp_path))
    cell = "|nor_conv_3x3~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"
    row = table.find({"architecture": cell, "model": "nas_bench_201"})
    assert table.reports(row) == [
        {"epoch": 12, "simulated_s": 120.0, "val_accuracy": 0.51},
        {"epoch": 200, "simulated_s": 2000.0, "val_accuracy": 0.81},
    ]
    assert len(table.reports(row, most=12)) == 1
    assert table.cost(row) == {"params": 2000, "latency_ms": 20.0}
    assert table.final["test_accuracy"][row] == 0.82
    assert "test_accuracy" not in table.metrics


@pytest.mark.parametrize(
    ("changes", "part", "said"),
    [
        ({"cifar10_valid_acc_e12": None}, "cifar10", "(NAS-Bench-201) has no column 'cifar10_valid_acc_e12'. Did you mean"),
        ({}, "cifar100", "unknown part of the table 'cifar100'. Did you mean 'cifar10'?"),
        ({}, "", "unknown part of the table ''"),
        ({"arch_str": None}, "cifar10", "is no known table: it has none of the columns 'arch_str' (NAS-Bench-201)"),
    ],
)  # fmt: skip
def test_wrong_tables_are_refused(tmp_path, changes, part, said):
    data = cell_table(tmp_path, **changes).partition("#")[0]
    with pytest.raises(InputError) as caught:
        load_table(f"{data}#{part}")
    assert said in str(caught.value)


def test_files_that_are_no_tables_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read the table"):
        load_table("tabular:nowhere.npz#cifar10")
    (tmp_path / "x.npz").write_text("no zip")
    with pytest.raises(InputError, match="is no table of plain arrays"):
        load_table(f"tabular:{tmp_path / 'x.npz'}")
    np.savez(tmp_path / "objects.npz", arch_str=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="is no table of plain arrays"):
        load_table(f"tabular:{tmp_path / 'objects.npz'}#cifar10")  # a pickle is never opened


def test_a_config_outside_the_table_is_said(tmp_path):
    table = load_table(cell_table(tmp_path))
    with pytest.raises(InputError, match="has no row for architecture='|none"):
        table.find({"architecture": "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"})
    with pytest.raises(InputError, match="the config has no architecture"):
        table.find({"lr": 1})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": {"lr": {"uniform": [0, 1]}}}, "is asked by architecture; the config has no architecture"),
        ({"space": {"architecture": {"cell": {"nodes": 3}}}}, "has no row for architecture="),
        ({"space": {"architecture": {"choice": [*CELLS, "|none~0|"]}}}, "has no row for architecture='|none~0|'"),
        ({"hyperparameters": {"lr": 0.1}}, "does not know the parameter 'lr'; it has model, architecture"),
        ({"training": {"epochs": 5}}, "report first at epoch 12; training.epochs=5 is before that"),
        ({"objective": "val_acuracy"}, "unknown metric of the table 'val_acuracy'. Did you mean 'val_accuracy'?"),
        ({"limits": ["flops <= 5"]}, "unknown metric of the table 'flops'"),
    ],
)
def test_experiments_that_do_not_fit_the_table_are_refused(tmp_path, changes, said):
    spec = {"space": SPACE, "data": cell_table(tmp_path), "training": {"epochs": 12}, **changes}
    with pytest.raises(InputError) as caught:
        make_plan(check(Experiment, spec, "experiment"))
    assert said in str(caught.value)


# -- through Ray ---------------------------------------------------------------------------------------------------


def test_a_search_on_a_table_is_an_ordinary_search(tmp_path, ray_here):
    data = cell_table(tmp_path)
    given = {"data": data, "home": tmp_path, "name": "table", "progress": False, "limits": ["params <= 5_000"]}
    results = raynas.search(SPACE, trials=8, search={"name": "genetic", "population": 4}, stop="asha", **given)
    table, frame = load_table(data), results.trials
    done = frame[frame["state"] == "done"]
    assert len(done)
    for _, row in frame[frame["state"] != "refused"].iterrows():
        place = table.find({"architecture": row["architecture"]})
        assert row["params"] == table.costs["params"][place] <= 5000
        assert row["val_accuracy"] == table.reports(place)[-1 if row["state"] == "done" else 0]["val_accuracy"]
    assert (frame.loc[frame["state"] == "refused", "params"] > 5000).all()
    longer = raynas.resume("table", home=tmp_path, trials=10, progress=False)
    assert longer.trials["state"].isin(["done", "stopped"]).sum() == 10
    with pytest.raises(InputError, match="looked its trials up in a table"):
        raynas.verify("table", home=tmp_path)
    cell_table(tmp_path, cifar10_valid_acc_e12=np.full(64, 50.0))
    with pytest.raises(InputError, match="the data of 'table' has changed"):
        raynas.resume("table", home=tmp_path, trials=12, progress=False)


# -- simulated -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("search", ["random", "genetic", "regularized-evolution", "optuna"])
def test_one_worker_does_what_the_ledger_does(tmp_path, search):
    """The searcher hears the same, so it asks the same."""
    options = {"population": 5, "tournament": 2} if search in ("genetic", "regularized-evolution") else {}
    made = simulator(cell_table(tmp_path), search, options=options, trials=30, epochs=12)
    run, table = made.run(), made.table
    ledger = open_ledger(tmp_path, space=SPACE, search=search, options=options, trials=30)
    while not isinstance(trial := ledger.next(), str):
        ledger.hear(trial.number, 1, 12, {}, table.reports(table.find(trial.config), 12)[0]["val_accuracy"], 0.1)
        ledger.end(trial.number, 1, "done")
    assert [trial.config for trial in run.trials] == [trial.config for trial in ledger.trials.values()]
    assert [trial.duplicate_of for trial in run.trials] == [trial.duplicate_of for trial in ledger.trials.values()]


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_time_passes_as_recorded(tmp_path, workers):
    made = simulator(cell_table(tmp_path), trials=24, epochs=12, workers=workers)
    run, table = made.run(), made.table
    times = {number: second for second, number in run.ended}
    assert list(times.values()) == sorted(times.values())
    spans = {number: table.reports(run.rows[number], 12)[-1]["simulated_s"] for number in times}
    assert len(times) == 24
    moments = sorted((times[number] - spans[number], times[number]) for number in times)
    for start, _ in moments:
        assert sum(begun <= start < ended for begun, ended in moments) <= workers
    total = sum(spans.values())  # no worker is idle while there are trials
    assert max(times.values()) <= total / workers + max(spans.values())


def test_the_budget_of_seconds_leaves_out_what_ends_later(tmp_path):
    whole = simulator(cell_table(tmp_path), trials=30, epochs=12, workers=2).run()
    cut = simulator(cell_table(tmp_path), seconds=1000.0, epochs=12, workers=2).run()
    assert cut.ended == [pair for pair in whole.ended if pair[0] <= 1000]
    assert len(cut.ended) < 30


def curves(rows=60, steps=27, seed=0):
    """Learning curves that cross: the final value is the row's, noise is early."""
    rng = np.random.default_rng(seed)
    final = rng.random(rows)
    shares = np.arange(1, steps + 1) / steps
    values = final[:, None] * shares + 0.05 * rng.normal(size=(rows, 1)) * (1 - shares)
    seconds = np.tile(np.arange(1.0, steps + 1), (rows, 1))
    return Table("curves", lambda config: config["row"], tuple(range(1, steps + 1)), {"score": values}, seconds, {"row": {"randint": [0, rows]}})  # fmt: skip


@pytest.mark.parametrize("stop", ["asha", "median", "hyperband"])
def test_early_stopping_saves_steps_and_finds_as_much(stop):
    table = curves()
    full = simulator(table, trials=40).run()
    short = simulator(table, stop=stop, trials=40).run()
    assert full.steps == 40 * 27
    assert short.steps < 0.7 * full.steps
    assert {trial.state for trial in short.trials if trial.duplicate_of is None} == {"done", "stopped"}
    assert short.best().fitness >= full.best().fitness - 0.1


def test_asha_decides_in_a_simulation_as_in_a_search(tmp_path, ray_here):
    """The same trials are stopped at the same epochs when they run one after the other."""
    data = cell_table(tmp_path)
    given = {"search": "random", "stop": "asha", "trials": 12}
    results = raynas.search(
        SPACE, data=data, home=tmp_path, progress=False, resources={"cpu": 1, "concurrency": 1}, **given
    )
    run = simulator(data, stop="asha", trials=12).run()
    assert [trial.state for trial in run.trials] == results.trials["state"].tolist()


def test_hyperband_takes_turns_in_a_simulation_as_in_a_search(tmp_path, ray_here):
    """All are asked for at the start; the same survive, whatever the number of workers."""
    data = cell_table(tmp_path)
    given = {"search": "random", "stop": "hyperband", "trials": 9, "objective": "val_accuracy"}
    results = raynas.search(SPACE, data=data, home=tmp_path, progress=False, training={"epochs": 200}, **given)
    frame = results.trials[results.trials["duplicate_of"].isna()]
    for workers in (1, 4):
        run = simulator(data, stop="hyperband", trials=9, workers=workers).run()
        own = [trial for trial in run.trials if trial.duplicate_of is None]
        assert [trial.config["architecture"] for trial in own] == frame["architecture"].tolist()
        assert [trial.state for trial in own] == frame["state"].tolist()
        assert [trial.epoch for trial in own] == frame["epochs"].tolist()


def test_hyperband_halves_by_rungs():
    """Of the brackets of 27 epochs and a third each time, the steps are those of the paper (Li et al., 2018, sec. 3)."""
    run = simulator(curves(rows=400), stop="hyperband", trials=27).run()
    epochs = sorted(trial.epoch for trial in run.trials if trial.duplicate_of is None)
    assert max(epochs) == 27
    assert len(set(epochs)) > 2
    assert run.steps < 27 * 27
    assert len(run.ended) == 27


def test_isomorphic_configs_are_trained_again_when_not_merged(tmp_path):
    run = simulator(cell_table(tmp_path), trials=50, epochs=12, merge=False).run()
    assert len(run.ended) == len(run.trials) == 50
    assert len({trial.identity for trial in run.trials}) < 50
    assert all(trial.duplicate_of is None for trial in run.trials)


def test_a_simulation_copies_no_weights():
    made = simulator(curves())
    pbt = schedulers.PopulationBasedTraining(time_attr="epoch", metric="fitness", mode="max", hyperparam_mutations={"x": [1]})  # fmt: skip
    with pytest.raises(InputError, match="stop is none, asha, median or hyperband"):
        Simulator(made.table, made.space, made.searcher, made.objective, pbt)


@pytest.mark.parametrize("stop", ["none", "hyperband"])
def test_divergence_is_a_failure(stop):
    table = curves(rows=4)
    table.metrics["score"][1:, 5:] = np.nan
    run = simulator(table, stop=stop, trials=4).run()
    assert sorted(trial.state for trial in run.trials if trial.duplicate_of is None) == ["done"] + ["failed"] * 3
    assert run.best().state == "done"


def test_outcomes_are_means_over_seeds(tmp_path):
    plan = plan_simulation({"data": cell_table(tmp_path), "space": SPACE, "search": "random", "budget": {"trials": 10}, "training": {"epochs": 12}})  # fmt: skip
    found = outcome(plan, workers=2, seeds=6)
    best = [
        simulator(plan.experiment.data, seed=seed, trials=10, epochs=12, workers=2).run().best() for seed in range(6)
    ]
    fitness = [trial.fitness for trial in best]
    assert found.measures["fitness"] == pytest.approx((np.mean(fitness), 1.96 * np.std(fitness, ddof=1) / 6**0.5))
    assert found.measures["trials"][0] == 10
    assert {"test_accuracy", "val_accuracy_200"} < set(found.measures)


# -- finished experiments ------------------------------------------------------------------------------------------


@pytest.fixture
def finished(tmp_path):
    folder = tmp_path / "night"
    folder.mkdir()
    ledger = open_ledger(folder, trials=20, search="random")
    ledger.store.update_experiment(name="night", spec={**ledger.store.experiment()["spec"], "objective": {"fitness": "metric", "metric": "score"}})  # fmt: skip
    run_all(ledger)
    ledger.close()
    return tmp_path


def test_a_finished_experiment_is_a_table(finished):
    results = Results(finished / "night" / "store.db")
    table = recorded(results)
    assert len(table) == 20
    for number in range(20):
        row = table.find(results.config(number))
        assert table.reports(row)[-1]["score"] == results.trials["score"].iloc[row]
        assert [report["epoch"] for report in table.reports(row)] == [1, 2]
    space = read(results.experiment["spec"]["space"])
    near = space.sample(stream(3, 3))
    distances = [abs(space.encode(near) - space.encode(results.config(number))).mean() for number in range(20)]
    assert table.find(near) == int(np.argmin(distances))


def test_a_simulation_of_an_experiment_has_as_many_trials(finished):
    results = Results(finished / "night" / "store.db")
    results.experiment["spec"]["budget"] = {"trials": 31, "wall_time_s": None, "gpu_hours": None}
    assert plan_simulation({}, results).experiment.budget.trials == 31
    assert plan_simulation({"budget": {"trials": 7}}, results).experiment.budget.trials == 7
    results.experiment["spec"]["budget"] = {"trials": None, "wall_time_s": None, "gpu_hours": 1.0}
    assert plan_simulation({}, results).experiment.budget.trials == len(recorded(results))


def test_trials_need_not_have_reported_at_the_same_epochs(tmp_path):
    ledger = open_ledger(tmp_path, trials=4, search="random")
    for epochs in ((1, 2, 3), (2, 4), (1,), (2, 4)):
        trial = ledger.next()
        for epoch in epochs:
            ledger.hear(trial.number, 1, epoch, {"score": 1.0 * epoch}, 1.0 * epoch, 0.5)
        ledger.end(trial.number, 1, "done")
    ledger.close()
    table = recorded(Results(tmp_path / "store.db"))
    reported = [
        [(report["epoch"], report["simulated_s"], report["score"]) for report in table.reports(row)] for row in range(4)
    ]
    assert reported[0] == [(1, 0.5, 1.0), (2, 1.0, 2.0), (3, 1.5, 3.0)]
    assert reported[1] == reported[3] == [(2, 0.5, 2.0), (4, 1.0, 4.0)]
    assert reported[2] == [(1, 0.5, 1.0)]
    space = read(table.parameters)
    for epochs, said in ((4, None), (1, "has no report up to epoch 1")):
        made = Simulator(
            table, space, SEARCHERS["random"](space, 0), OBJECTIVES["metric"](metric="score"), trials=20, epochs=epochs
        )
        if said is None:
            assert {trial.epoch for trial in made.run().trials} <= {1, 3, 4}
        else:
            with pytest.raises(InputError, match=said):
                made.run()


def test_the_command_compares_searchers_on_an_experiment(finished):
    code, output = command("simulate", "night", "--search", "random", "--search", "genetic", "--workers", "1", "--workers", "4", "--trials", "10", "--seeds", "3", "search.population=4", home=finished)  # fmt: skip
    assert code == 0
    rows = [line.split()[:3] for line in output.splitlines()[1:]]
    assert rows == [["random", "1", "3"], ["random", "4", "3"], ["genetic", "1", "3"], ["genetic", "4", "3"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a table, data: tabular:FILE#PART"),
        (["--data", "fashion_mnist"], "name a table"),
        (["--data", "tabular:no.npz"], "cannot read the table 'no.npz'"),
        (["night", "--trials", "4", "--workers", "5"], "5 workers are more than 4 trials"),
        (["night", "budget.gpu_hours=1"], "it has no GPUs to count hours of"),
        (["night", "--search", "genetc"], "Did you mean 'genetic'"),
        (["night", "--stop", "pbt", "--trials", "4"], "pbt changes hyperparameters while trials train"),
        (["night", "--search", "random", "--search", "genetic", "search.populaton=4"], "Did you mean 'population'"),
        (["night", "--search", "bananas", "search.warm_up=synflow"], "and here it builds none"),
    ],
)
def test_wrong_simulations_are_refused(finished, arguments, said):
    code, output = command("simulate", *arguments, home=finished)
    assert code == 2
    assert said in " ".join(output.split())


# -- the real tables -----------------------------------------------------------------------------------------------


def real(name):
    if not (REAL / name).is_file():
        pytest.skip(f"no '{name}' in '{REAL}': set RAYNAS_DATA")
    return f"tabular:{REAL / name}"


def test_random_search_comes_near_the_published_one():
    """93.70 +- .36 % on CIFAR-10 test after 12,000 simulated seconds (Dong & Yang, 2020)."""
    data = real("nasbench201.npz") + "#cifar10"
    plan = plan_simulation({"data": data, "search": "random", "training": {"epochs": 12}, "budget": {"wall_time_s": 12000.0}})  # fmt: skip
    assert 0.9355 < outcome(plan, 1, 60).measures["test_accuracy"][0] < 0.9395


def test_evolution_beats_random_on_the_macro_space():
    data = real("nasbench_macro.npz")
    found = {}
    for name in ("random", "genetic", "regularized-evolution"):
        options = {} if name == "random" else {"population": 10}
        plan = plan_simulation({"data": data, "search": {"name": name, **options}, "budget": {"trials": 100}})
        found[name] = outcome(plan, 1, 30).measures["fitness"]
    for name in ("genetic", "regularized-evolution"):
        assert found[name][0] - found[name][1] > found["random"][0] + found["random"][1]


def test_learning_curves_of_a_task():
    data = real("taskset_rnn.npz")
    table = load_table(data + "#3")
    assert len(table) == 1000
    assert table.epochs == tuple(range(1, 52))
    with pytest.raises(InputError, match="say which task of 'taskset_rnn.npz': #0 to #11, got '#12'"):
        load_table(data + "#12")


def test_tune_samples_cells_too():
    assert kinds.contains(Cell(nodes=4), Cell(nodes=4).sample())
    assert read({"architecture": Cell(nodes=3), "x": tune.uniform(0, 1)}).size(["architecture"]) == 125


def test_tables_are_found_where_datasets_are(tmp_path, monkeypatch):
    data = cell_table(tmp_path)
    monkeypatch.setenv("RAYNAS_DATA", str(tmp_path))
    assert load_table("tabular:cells.npz#cifar10").digest == load_table(data).digest
    with pytest.raises(InputError, match="cannot read the table 'other.npz'"):
        load_table("tabular:other.npz#cifar10")
