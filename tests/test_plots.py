"""Pictures: every one of the table for every kind of experiment, true to the frames, and as files."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from sqlalchemy import insert
from test_ledger import limited, run_all
from typer.testing import CliRunner

from raynas.cli.main import app
from raynas.results import schema
from raynas.results.drawing import draw, draw_trial
from raynas.results.plots import PLOTS
from raynas.results.plots.decisions import NOT_THERE, explained
from raynas.results.plots.files import SUFFIXES, write_drawing, write_figure
from raynas.results.plots.places import lanes, utilisation
from raynas.results.plots.progress import LINES, so_far
from raynas.results.plots.style import MANY, thinned, window
from raynas.results.results import Results
from raynas.results.store import Store
from raynas.rng import stream
from raynas.space import read
from raynas.tables import InputError

BORN = 1_700_000_000.0


def written(
    folder,
    states,
    *,
    space="genome_cnn",
    epochs=3,
    slots=2,
    objective=None,
    name="made",
    fitness=None,
    oneshot=None,
    more=None,
):
    """The results of a search with trials of these states, written at once."""
    space = read(space)
    spec = {"space": space.spec(), "objective": objective or {"fitness": "accuracy"}}
    spec |= {"oneshot": oneshot} if oneshot else {}
    folder.mkdir(parents=True, exist_ok=True)
    Store.create(folder / "store.db", {"name": name, "spec": spec, "seed": 0, "data": None, "fingerprints": {}}).close()
    store = Store.open(folder / "store.db", writable=True)
    trials, reports = [], []
    for number, state in enumerate(states):
        rng = stream(0, number)
        placed, over = state not in ("refused", "queued"), state not in ("running", "queued")
        reached = {"done": epochs, "stopped": 1, "running": 1}.get(state, 0)
        final = float(rng.random()) if fitness is None else fitness[number]
        start = BORN + 10.0 * (number // slots)
        origin = {
            "generation": number // 4,
            "operator": "random" if number < 4 else "mutate",
            "parents": [] if number < 4 else [number - 4],
        }
        trials.append({
            "experiment": store.experiment_id, "number": number, "config": space.sample(rng), "identity": str(number), "state": state,
            "failure": "oom" if state == "failed" else None, "error": None, "fitness": final if reached else None, "origin": origin,
            "duplicate_of": None, "seed": number, "resources": {"cpu": 1.0, "gpu": 0.25}, "cost": {"params": 1000 + 7 * number},
            "node": f"node{number % slots % 2}" if reached else None, "attempt": 1, "asked": 3 * number, "told": 3 * number + 2 if over else None,
            "created": start, "started": start if placed else None, "ended": start + 8 if over and placed else None, "seconds": 8.0 if placed else 0.0,
        })  # fmt: skip
        reports += [
            {"experiment": store.experiment_id, "heard": 10 * number + epoch, "trial": number, "attempt": 1, "epoch": epoch,
             "fitness": final * epoch / reached, "metrics": {"val_accuracy": final * epoch / reached, **(more or {})}, "seconds": 2.0}
            for epoch in range(1, reached + 1)
        ]  # fmt: skip
    with store.writing() as connection:
        for table, rows in ((schema.trials, trials), (schema.reports, reports)):
            if rows:
                connection.execute(insert(table), rows)
    store.close()
    return Results(folder / "store.db")


MIXED = ["done", "stopped", "failed", "refused", "done", "stopped", "running", "queued"]
KINDS = {
    "nothing": lambda folder: written(folder, []),
    "only refused": lambda folder: written(folder, ["refused"] * 3),
    "only failed": lambda folder: written(folder, ["failed"] * 3),
    "just begun": lambda folder: written(folder, ["running", "queued"]),
    "one trial": lambda folder: written(folder, ["done"]),
    "one epoch": lambda folder: written(folder, ["done"] * 5, epochs=1),
    "all alike": lambda folder: written(folder, ["done"] * 6, fitness=[0.5] * 6),
    "mixed": lambda folder: written(folder, MIXED * 4),
    "a diverged one": lambda folder: written(folder, ["done"] * 12, fitness=[-1e9, *np.linspace(0.5, 0.9, 11)]),
    "fronts": lambda folder: written(
        folder, MIXED * 3, objective={"fitness": "pareto", "metrics": {"val_accuracy": "max", "params": "min"}}
    ),
    "small cnn": lambda folder: written(folder, MIXED * 3, space="simple_cnn"),
    "dense cells": lambda folder: written(folder, MIXED * 3, space="nas_bench_201"),
    "two-input cells": lambda folder: written(folder, MIXED * 2, space="enas_micro"),
    "macro": lambda folder: written(folder, MIXED * 2, space="enas_macro"),
}
EMPTY = {"nothing", "only refused", "only failed"}


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request, tmp_path_factory):
    return request.param, KINDS[request.param](tmp_path_factory.mktemp("results"))


@pytest.mark.parametrize("what", list(PLOTS))
def test_every_picture_of_every_kind_of_experiment(kind, what):
    """A figure with titles that plotly can serialise, or one clear reason."""
    name, results = kind
    try:
        figure = PLOTS[what](results, None)
    except InputError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert name in {*EMPTY, "just begun"} or (what == "importances" and len(results.trials) < 40), said
        assert "yet" in said or "need" in said or "generations" in said
        return
    assert name not in EMPTY or what in ("timeline", "generations", "rungs")
    drawn = json.loads(figure.to_json())["layout"]
    assert drawn["title"]["text"]
    if what != "parallel":
        axes = [
            axis["title"]["text"]
            for key, axis in drawn.items()
            if key.startswith(("xaxis", "yaxis")) and axis.get("title")
        ]
        assert all(axes)
        assert len(axes) >= (1 if what in ("timeline", "importances") else 2)


def test_the_window_leaves_out_what_would_flatten_the_rest(tmp_path):
    results = KINDS["a diverged one"](tmp_path)
    figure = PLOTS["best_so_far"](results, None)
    assert figure.layout.yaxis.range[0] > -10
    assert "1 below the picture" in figure.layout.title.subtitle.text
    assert window(results.trials["fitness"][1:]) == (None, 0)


def test_ten_thousand_trials_are_drawn_and_thinned_out_loud(tmp_path):
    rng, count = np.random.default_rng(0), 10_000
    results = written(
        tmp_path, ["done" if here < 0.5 else "stopped" for here in rng.random(count)], space="simple_cnn", slots=40
    )
    began = time.perf_counter()
    for what in PLOTS.keys() - {"importances"}:
        figure = PLOTS[what](results, None)
        points = [trace for trace in figure.data if getattr(trace, "x", None) is not None and len(trace.x) > MANY]
        for trace in points:
            assert trace.type == "scattergl" or trace.mode == "lines", what
        if what == "curves":
            drawn = {number for trace in figure.data for number in trace.text}
            assert int(results.best()["number"].iloc[0]) in drawn
            assert LINES / 2 < len(drawn) <= LINES
            assert f"{len(drawn)} of 10,000 trials drawn" in figure.layout.title.subtitle.text
        if what == "parallel":
            assert "of 10,000 trials drawn" in figure.layout.title.subtitle.text
        if what == "timeline":
            assert "40 lanes on 2 nodes" in figure.layout.title.subtitle.text
    assert time.perf_counter() - began < 300  # far from what it takes: a picture must not hang


def test_thinning_keeps_the_best_and_says_what_it_did(tmp_path):
    frame = written(tmp_path, ["done"] * 50).trials
    kept, said = thinned(frame, 20)
    best = set(frame.sort_values("fitness").tail(4)["number"])
    assert best <= set(kept["number"])
    assert len(kept) <= 20
    assert said == f"{len(kept)} of 50 trials drawn: the best 4 and 1 in 3 of the others"
    assert thinned(frame, 50) == (frame, "") or thinned(frame, 50)[1] == ""


def test_best_so_far_follows_the_rule_for_the_best(tmp_path):
    states = ["stopped", "done", "stopped", "done", "done"]
    results = written(tmp_path, states, fitness=[0.9, 0.3, 0.95, 0.2, 0.5], slots=1)
    assert so_far(results.trials)["best"].tolist() == [0.9, 0.3, 0.3, 0.3, 0.5]
    assert so_far(results.trials)["after_s"].tolist() == [8.0, 18.0, 28.0, 38.0, 48.0]
    line = {trace.name: trace for trace in PLOTS["best_so_far"](results, None).data}["best so far"]
    assert line.y[-1] == results.best()["fitness"].iloc[0]


def test_curves_mark_the_stopped_and_the_best(tmp_path):
    results = written(tmp_path, MIXED * 3)
    traces = {trace.name: trace for trace in PLOTS["curves"](results, None).data}
    stopped = results.trials.query("state == 'stopped'")["number"].tolist()
    assert sorted(traces["stopped early"].text) == stopped
    best = int(results.best()["number"].iloc[0])
    assert f"best: trial {best}" in traces
    ends = dict(zip(traces["stopped early"].text, traces["stopped early"].y, strict=True))
    assert ends == dict(zip(stopped, results.trials.set_index("number")["fitness"][stopped], strict=True))
    done = [value for value in traces["done"].y if value is not None]
    assert len(done) == 3 * (results.trials["state"].eq("done").sum() - 1)


def test_lanes_never_hold_two_trials_at_once_and_are_as_few_as_can_be(tmp_path):
    results = written(tmp_path, ["done", "failed", "stopped"] * 20, slots=5)
    placed = lanes(results.trials)
    assert len(placed) == 60
    most = 0
    for _, node in placed.groupby("node"):
        for _, lane in node.groupby("lane"):
            inside = lane.sort_values("start_s")
            assert (inside["start_s"].iloc[1:].to_numpy() >= inside["end_s"].iloc[:-1].to_numpy() - 1e-3).all()
        at_once = max(((node["start_s"] <= at) & (at < node["end_s"])).sum() for at in node["start_s"])
        assert node["lane"].max() == at_once
        most += at_once
    span = placed["end_s"].max()
    assert utilisation(placed) == pytest.approx(60 * 8 / (most * span))
    said = PLOTS["timeline"](results, None).layout.title.subtitle.text
    assert f"{most} lanes" in said


def test_a_trial_under_way_has_lasted_as_long_as_it_has_trained(tmp_path):
    placed = lanes(written(tmp_path, ["done", "running"], slots=1).trials)
    assert (placed["end_s"] - placed["start_s"]).tolist() == [8.0, 8.0]


def test_parallel_shows_what_goes_with_fitness_and_what_is_not_there(tmp_path):
    results = written(tmp_path, ["done"] * 80, space="simple_cnn")
    frame = results.trials
    by_dropout = written(
        tmp_path / "again", ["done"] * 80, space="simple_cnn", fitness=[float(value) for value in frame["dropout"]]
    )
    dimensions = PLOTS["parallel"](by_dropout, None).data[0].dimensions
    assert [dimension.label for dimension in dimensions] == [
        "conv_layers",
        "hidden",
        "dropout",
        "lr",
        "parameters",
        "fitness",
    ]
    kept = by_dropout.trials.sort_values("fitness")
    assert list(dimensions[-1]["values"]) == kept["fitness"].tolist()
    assert [dimensions[2].ticktext[int(value)] for value in dimensions[2]["values"]] == [
        f"{value:g}" if value else "0.0" for value in kept["dropout"]
    ]
    values = [None if value < 0.1 else value for value in frame["dropout"]]
    assert explained(list(frame["dropout"]), frame["dropout"].to_numpy()) > 0.99
    assert abs(explained(values, np.random.default_rng(0).random(80))) < 0.2
    genomes = PLOTS["parallel"](written(tmp_path / "genomes", ["done"] * 60), None)
    assert any(NOT_THERE in dimension.ticktext for dimension in genomes.data[0].dimensions if dimension.ticktext)
    assert "of 31 decisions" in genomes.layout.title.subtitle.text


def test_compare_draws_a_line_an_experiment(tmp_path):
    found = [written(tmp_path / name, ["done"] * 8, name=name) for name in ("one", "other")]
    traces = [trace for trace in PLOTS["compare"](found, None).data if trace.showlegend]
    assert [trace.name for trace in traces] == ["one", "other"]
    assert traces[0].line.color != traces[1].line.color
    for trace, results in zip(traces, found, strict=True):
        assert trace.y[-1] == results.best()["fitness"].iloc[0]
    loss = written(tmp_path / "loss", ["done"], objective={"fitness": "loss"}, name="loss")
    with pytest.raises(InputError, match="not of the same thing"):
        PLOTS["compare"]([found[0], loss], None)


def test_a_trial_is_drawn_as_what_it_trained_or_found(tmp_path):
    results = written(tmp_path, ["done", "failed"], space="simple_cnn", fitness=[0.5, None])
    assert "made, trial 0, fitness 0.5000, 1,000 parameters" in draw_trial(results)
    assert "made, trial 1, 1,007 parameters" in draw_trial(results, 1)
    with pytest.raises(InputError, match="no trial 7"):
        draw_trial(results, 7)
    with pytest.raises(InputError, match="no trial with a fitness yet"):
        draw_trial(written(tmp_path / "empty", ["refused"]))


def test_of_a_supernet_search_what_it_found_is_drawn(tmp_path):
    cells = read("enas_micro").sample(stream(0, 0))
    oneshot = {"name": "enas", "space": read("enas_micro").spec()}
    found = {f"found_{name}": cells[name] for name in ("normal", "reduction")}
    results = written(tmp_path, ["done", "running"], space={"lr": 0.1}, oneshot=oneshot, more=found)
    cell = draw({name: cells[name] for name in ("model", "normal", "reduction")})
    assert draw_trial(results, 0).count('class="box"') == cell.count('class="box"')
    with pytest.raises(InputError, match="no parameter of 'made' varies"):
        PLOTS["parallel"](results, None)
    empty = written(tmp_path / "empty", ["running"], space={"lr": 0.1}, oneshot=oneshot)
    with pytest.raises(InputError, match="found nothing yet"):
        draw_trial(empty, 0)


# -- files ------------------------------------------------------------------------------------------------------------


def test_html_is_whole_and_asks_no_network(tmp_path):
    figure = PLOTS["best_so_far"](written(tmp_path, MIXED), None)
    write_figure(figure, tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text()
    assert "best so far" in text
    assert '<script src="http' not in text


def test_pictures_without_kaleido_or_a_browser_say_what_to_install(tmp_path, monkeypatch):
    figure = go.Figure()
    monkeypatch.setitem(sys.modules, "kaleido", None)
    monkeypatch.setitem(sys.modules, "kaleido.errors", None)
    for suffix in SUFFIXES.keys() - {".html"}:
        with pytest.raises(InputError, match="raynas\\[images\\]"):
            write_figure(figure, tmp_path / f"x{suffix}")
    with pytest.raises(InputError, match="unknown picture format '.pgn'. Did you mean '.png'"):
        write_figure(figure, tmp_path / "x.pgn")
    assert not list(tmp_path.iterdir())


def test_a_missing_browser_is_one_clear_error(tmp_path, monkeypatch):
    errors = pytest.importorskip("kaleido.errors")

    def none_here(*_, **__):
        raise errors.ChromeNotFoundError

    monkeypatch.setattr(go.Figure, "to_image", none_here)
    with pytest.raises(InputError, match="apt install chromium.*BROWSER_PATH"):
        write_figure(go.Figure(), tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_a_drawing_is_written_as_svg_and_html(tmp_path):
    drawn = draw_trial(written(tmp_path / "made", ["done"]))
    write_drawing(drawn, tmp_path / "x.svg")
    write_drawing(drawn, tmp_path / "x.html")
    assert (tmp_path / "x.svg").read_text() == drawn
    assert drawn in (tmp_path / "x.html").read_text()


@pytest.mark.slow
def test_pictures_of_pixels_by_a_real_browser(tmp_path):
    pytest.importorskip("kaleido")
    results = written(tmp_path / "runs" / "made", MIXED * 3)
    done = subprocess.run(
        [sys.executable, "-m", "raynas", "plot", "made", "all", "--format", "png", "--output", str(tmp_path / "out"), "--home", str(tmp_path / "runs")],
        capture_output=True, text=True,
    )  # fmt: skip
    if "need a browser" in done.stdout:
        pytest.skip("no Chrome or Chromium here")
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG"), path
        assert path.stat().st_size > 8_000, path  # not blank
    assert len(results.trials) == 24


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs")
    for name, search in (("evolved", "genetic"), ("luck", "random")):
        (home / name).mkdir()
        ledger = limited(
            home / name, search=search, options={"population": 4} if search == "genetic" else None, trials=8
        )
        run_all(ledger)
        ledger.close()
    return home


def test_axes_of_one_epoch_and_one_value_are_near_them(tmp_path):
    results = written(tmp_path, ["done"] * 4, epochs=1, fitness=[0.5] * 4)
    for name, x in (("curves", [0.5, 1.5]), ("generations", [-0.5, 0.5])):
        layout = json.loads(PLOTS[name](results, None).to_json())["layout"]
        assert layout["xaxis"]["range"] == x
        assert layout["xaxis"]["dtick"] == 1
        assert layout["yaxis"]["range"] == pytest.approx([0.475, 0.525])
    layout = json.loads(PLOTS["rungs"](results, None).to_json())["layout"]
    assert layout["yaxis"]["dtick"] == 1  # trials, no halves
    assert layout["yaxis2"]["range"] == pytest.approx([0.475, 0.525])
    several = json.loads(PLOTS["curves"](written(tmp_path / "x", ["done"] * 4), None).to_json())["layout"]
    assert "range" not in several["xaxis"]


@pytest.mark.parametrize(
    ("objective", "name"),
    [
        ({"fitness": "accuracy"}, "validation accuracy"),
        ({"fitness": "metric", "metric": "val_accuracy", "mode": "max"}, "validation accuracy"),
        ({"fitness": "metric", "metric": "val_accuracy", "mode": "min"}, "fitness"),
        ({"fitness": "loss"}, "fitness"),
    ],
)
def test_a_front_is_called_alike_in_the_plot_and_in_the_report(tmp_path, objective, name):
    from raynas.results.report.pictures import pictures

    results = written(tmp_path, ["done"] * 6, objective=objective)
    layout = json.loads(PLOTS["pareto"](results, None).to_json())["layout"]
    assert (layout["xaxis"]["title"]["text"], layout["yaxis"]["title"]["text"]) == ("parameters", name)
    front = next(each for each in pictures(results)[0] if each.name == "pareto")
    assert json.loads(front.data)["layout"]["yaxis"]["title"]["text"] == name


def plot(home, *arguments):
    return CliRunner().invoke(app, ["plot", *map(str, arguments), "--home", str(home)])


def test_all_writes_what_there_is_and_says_what_is_left_out(home, tmp_path):
    made = plot(home, "luck", "all", "--output", tmp_path / "pictures")
    assert made.exit_code == 0, made.output
    there = {path.stem for path in (tmp_path / "pictures").iterdir()}
    assert {path.name for path in (tmp_path / "pictures").iterdir() if path.suffix != ".html"} == {"architecture.svg"}
    assert {"best_so_far", "curves", "parallel", "timeline", "pareto", "architecture"} <= there
    assert "left out: lineage: its searcher keeps no generations" in made.output
    assert there | {line.split(": ")[1] for line in made.output.splitlines() if line.startswith("left out")} >= set(
        PLOTS
    ) - {"compare"}


def test_each_drawing_has_its_own_file(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in ((), ("--trial", "3"), ("--trial", "0")):
        made = plot(home, "luck", "architecture", *arguments)
        assert made.exit_code == 0, made.output
    names = ("test-architecture.svg", "test-architecture-0.svg", "test-architecture-3.svg")
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    assert "trial 0" in Path(names[1]).read_text()
    assert "trial 3" in Path(names[2]).read_text()


def test_one_picture_a_drawing_and_a_comparison(home, tmp_path):
    for arguments, path in (
        (("lineage",), "lineage.html"),
        (("architecture", "--trial", "3"), "network.svg"),
        (("compare", "--with", "luck"), "both.html"),
    ):
        made = plot(home, "evolved", *arguments, "--output", tmp_path / path)
        assert made.exit_code == 0, made.output
        assert (tmp_path / path).is_file()
    assert "trial 3" in (tmp_path / "network.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("linage",), "Did you mean 'lineage'"),
        (("curves", "--output", "x.pgn"), "Did you mean '.png'"),
        (("curves", "--trial", "1"), "--trial goes with architecture"),
        (("curves", "--with", "luck"), "--with goes with compare"),
        (("architecture", "--trial", "99"), "no trial 99"),
        (("all", "--format", "gif"), "unknown picture format"),
        (("compare", "--with", "lucky"), "lucky"),
    ],
)
def test_wrong_asks_end_at_the_door(home, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    made = plot(home, "evolved", *arguments)
    assert made.exit_code == 2
    assert said in made.output
    assert not list(Path().iterdir())


def test_a_table_says_how_many_were_refused_and_why_others_failed(tmp_path):
    """Refused trials flood no table, and are in every other format; where only they are asked for, they are there."""
    written(tmp_path / "made", MIXED * 2)
    ask = lambda *arguments: CliRunner().invoke(app, ["results", "made", "--home", str(tmp_path), *arguments]).output  # noqa: E731
    table = ask()
    assert table.strip().splitlines()[-1] == "2 refused (their reasons: --format csv, column error)"
    assert len(re.findall(r"^ *\d+  \w+", table, re.MULTILINE)) == 14
    assert len(ask("--format", "csv").strip().splitlines()) == 1 + 16
    only = ask("--where", "state = 'refused'")
    assert len(re.findall(r"^ *\d+  refused", only, re.MULTILINE)) == 2
    assert "their reasons" not in only


@pytest.mark.parametrize(
    ("error", "said"),
    [("Traceback\n  x\nValueError: no\n", "ValueError: no"), (None, None), ("  \n", None), ("x" * 99, "x" * 59 + "…")],
)
def test_reasons_are_the_last_line(error, said):
    from raynas.cli.show import _last_line

    found = _last_line(error)
    assert found == said if said else found is pd.NA
