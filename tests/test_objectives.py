"""Objectives: metrics become one number to maximise, or say why not; trials."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raynas.objectives import ENDED, OBJECTIVES, Diverged, Trial
from raynas.settings import construct
from raynas.tables import InputError, look_up

REPORT = {"epoch": 3, "val_accuracy": 0.75, "val_loss": 0.5, "latency_ms": 12, "note": "warm"}

# name, its options, the metric it reads, the sign that it gives it
TABLE = [
    ("accuracy", {}, "val_accuracy", 1),
    ("loss", {}, "val_loss", -1),
    ("metric", {"metric": "latency_ms"}, "latency_ms", 1),
    ("metric", {"metric": "latency_ms", "mode": "max"}, "latency_ms", 1),
    ("metric", {"metric": "latency_ms", "mode": "min"}, "latency_ms", -1),
]


def objective(name, options):
    return construct(look_up("objective", name, OBJECTIVES), options, "objective")


def test_every_simple_objective_is_in_the_table():
    assert {"accuracy", "loss", "metric"} <= set(OBJECTIVES)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_fitness_is_the_metric_and_higher_is_better(one, other):
    for name, options, key, sign in TABLE:
        fitness = objective(name, options)
        assert fitness({**REPORT, key: one}) == sign * one
        better = max if sign > 0 else min
        assert fitness({key: better(one, other)}) >= fitness({key: one})


@pytest.mark.parametrize(("name", "options", "key", "sign"), TABLE)
def test_only_a_finite_number_is_a_fitness(name, options, key, sign):
    fitness = objective(name, options)
    for value in (0, 1, 0.5, np.float32(0.5), np.int64(2), np.array(0.5), torch.tensor(0.5)):
        found = fitness({key: value})
        assert type(found) is float
        assert found == sign * float(value)
    for value in (math.nan, math.inf, -math.inf, np.float32("nan"), torch.tensor(math.inf)):
        with pytest.raises(Diverged, match=f"{key} is "):
            fitness({key: value})
    for value in (None, "0.5", b"0.5", [0.5], {"a": 1}, 1j, np.array([0.5, 0.6]), torch.zeros(2)):
        with pytest.raises(InputError, match=f"the objective '{key}' must be a number, got"):
            fitness({key: value})


@pytest.mark.parametrize(("name", "options", "key", "sign"), TABLE)
def test_a_metric_that_is_not_reported_gets_the_nearest_name(name, options, key, sign):
    with pytest.raises(InputError) as caught:
        objective(name, options)({"epoch": 1, key + "s": 0.5})
    assert str(caught.value) == (
        f"the objective '{key}' is not among the reported metrics. Did you mean '{key}s'? Reported: epoch, {key}s"
    )


def test_diverging_is_no_mistake_of_the_user():
    assert not issubclass(Diverged, ValueError)
    assert issubclass(Diverged, ArithmeticError)


ERRORS = [
    ("metric", {}, "'metric' is missing"),
    ("metric", {"metric": "x", "mode": "minimum"}, "'mode' must be right"),
    ("metric", {"metric": 3}, "'metric' must be right"),
    ("metric", {"metric": "x", "mood": "min"}, "unknown key 'mood'. Did you mean 'mode'?"),
    ("accuracy", {"mode": "min"}, "unknown key 'mode'"),
    ("acuracy", {}, "unknown objective 'acuracy'. Did you mean 'accuracy'? Known: accuracy,"),
]


@pytest.mark.parametrize(("name", "options", "fragment"), ERRORS)
def test_objectives_are_read_strictly(name, options, fragment):
    with pytest.raises(InputError) as caught:
        objective(name, options)
    assert fragment in str(caught.value)


# -- trials -------------------------------------------------------------------------------------------------------


def test_a_fresh_trial_is_queued_unjudged_and_shares_nothing():
    one, other = Trial(0, {"lr": 0.1}), Trial(1, {"lr": 0.1})
    assert (one.state, one.fitness, one.epoch, one.attempt, one.ended) == ("queued", None, 0, 1, False)
    for name in ("origin", "curve", "metrics"):
        assert getattr(one, name) is not getattr(other, name)


@pytest.mark.parametrize("state", ["queued", "running", "done", "stopped", "failed"])
def test_a_trial_has_ended_or_not(state):
    assert Trial(0, {}, state=state).ended is (state in ("done", "stopped", "failed"))
    assert (state in ENDED) is (state in ("done", "stopped", "failed"))


def test_the_epoch_is_that_of_the_last_report():
    assert Trial(0, {}, curve=[(1, 0.5), (2, 0.7), (4, 0.6)]).epoch == 4
