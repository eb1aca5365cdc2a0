"""What a person sees while it runs."""

import io
import re

import pytest
from rich.console import Console
from test_ledger import open_ledger, run_one

from raynas.run.meter import Meter
from raynas.run.progress import Lines, Live, duration, eta_s, shown


def test_lines_say_what_ended_and_how(tmp_path):
    ledger, out = open_ledger(tmp_path, search="random", trials=4), io.StringIO()
    view = Lines(ledger, None, out)
    for fate in ("done", None, "diverged"):
        trial = ledger.next()
        ledger.hear(trial.number, 1, 1, {}, 0.5 + trial.number, 0.1)
        ledger.end(trial.number, 1, fate)
        view.refresh()
    view.close()
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("[1/4] trial 0 done after 1 epoch, fitness 0.5000, best 0.5000 (trial 0)")
    assert "trial 1 stopped after 1 epoch, fitness 1.5000, best 0.5000 (trial 0)" in lines[1]
    assert "trial 2 failed (diverged), fitness -" in lines[2]


def test_lines_count_on_after_a_resume(tmp_path):
    ledger = open_ledger(tmp_path, search="random", trials=3)
    run_one(ledger, ledger.next())
    ledger.store.close()
    again, out = open_ledger(tmp_path, search="random", trials=3), io.StringIO()
    view = Lines(again, None, out)
    run_one(again, again.next())
    view.refresh()
    assert out.getvalue().startswith("[2/3] trial 1")


def test_the_live_view_shows_counts_best_eta_and_top_five(tmp_path):
    ledger = open_ledger(tmp_path, search="random", trials=10)
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    view = Live(ledger, 3, "night", console)
    for _ in range(7):
        run_one(ledger, ledger.next())
    ledger.next()
    view.close()
    text = console.file.getvalue()
    last = text[text.rindex("night") :]
    assert "7 done" in last
    assert "1 running" in last
    assert "left" in last
    ranked = [trial.number for trial in ledger.best(5)]
    rows = [int(line.split()[0]) for line in last.splitlines() if line.strip()[:1].isdigit()]
    assert rows == ranked


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0s"), (59.6, "1m00s"), (75, "1m15s"), (3725, "1h02m")])
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_eta_follows_the_pace(tmp_path):
    ledger = open_ledger(tmp_path, search="random", trials=4)
    assert eta_s(ledger, None) is None
    run_one(ledger, ledger.next())
    ledger.first_start -= 10
    assert eta_s(ledger, None) == pytest.approx(30, abs=3)


def test_eta_knows_the_budget_of_gpu_hours(tmp_path):
    """100 s of GPU, two halves of one at work: 100 s, whatever the trials would take."""
    ledger = open_ledger(tmp_path, search="random", trials=400, gpu_hours=100 / 3600)
    ledger.meter = Meter(100 / 3600, 0.5)
    for _ in range(2):
        assert not isinstance(ledger.next(), str)
    assert eta_s(ledger, None) is None
    run_one(ledger, ledger.out[0])
    assert not isinstance(ledger.next(), str)
    ledger.first_start -= 10
    assert eta_s(ledger, None) == pytest.approx(100, abs=3)


def test_eta_counts_what_trials_have_trained(tmp_path):
    """Two trials at once, each half done after 10 s: 10 s to go, and 30 with two more waiting."""
    for trials, seconds in ((2, 10), (4, 30)):
        ledger = open_ledger(tmp_path / str(trials), search="random", trials=trials)
        for trial in (ledger.next(), ledger.next()):
            ledger.hear(trial.number, 1, 2, {}, 0.5, 0.1)
        ledger.first_start -= 10
        assert eta_s(ledger, 4) == pytest.approx(seconds, abs=1)
        assert eta_s(ledger, None) is None


def test_long_trials_are_heard_of_now_and_then(tmp_path):
    ledger, out = open_ledger(tmp_path, search="random", trials=2), io.StringIO()
    view, trial = Lines(ledger, 4, out), ledger.next()
    view.spoke -= 100
    view.refresh()
    assert out.getvalue() == ""  # nothing was reported
    ledger.hear(trial.number, 1, 2, {}, 0.25, 0.1)
    ledger.first_start -= 10
    view.refresh()
    view.refresh()
    assert re.fullmatch(r"trial 0: epoch 2/4, 0\.2500, \d+s left\n", out.getvalue())


def test_a_config_is_shown_architecture_first():
    text = shown({"model": "genome", "lr": 0.00123456, "architecture": "NC 5 3 relu;FL relu"})
    assert text == "NC 5 3 relu;FL relu  lr=0.00123"
    assert len(shown({"architecture": "x" * 200}, 20)) == 20
