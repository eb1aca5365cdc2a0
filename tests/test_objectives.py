"""Objectives: metrics become one number to maximise, or say why not; trials."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raynas.objectives import ENDED, OBJECTIVES, Diverged, Trial, broken, parse_limit
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
    for name in ("origin", "curve", "metrics", "cost"):
        assert getattr(one, name) is not getattr(other, name)


@pytest.mark.parametrize("state", ["queued", "running", "done", "stopped", "failed", "refused"])
def test_a_trial_has_ended_or_not(state):
    over = state not in ("queued", "running")
    assert Trial(0, {}, state=state).ended is over
    assert (state in ENDED) is over


def test_the_epoch_is_that_of_the_last_report():
    assert Trial(0, {}, curve=[(1, 0.5), (2, 0.7), (4, 0.6)]).epoch == 4


# -- the genome fitness --------------------------------------------------------------------------------------------

# Tables VIII, X and XII of the genome report: alpha, parameters, accuracy in %, fitness; digits that are shown there.
# Left out are VIII S3 (89.09 % and 119,841 give 4.7136, printed 4.6988) and X S1 (83.96 % and 14,840 give 2.1249,
# printed 2.105), which contradict themselves. Accuracies are printed cut to two digits: a third is what the
# printed fitness implies.
PUBLISHED = [
    (0.3, 23636, 85.559, 4.6806),
    (0.3, 69925, 88.45, 4.7398),
    (0.5, 69799, 89.21, 2.04),
    (0.5, 15549, 85.65, 2.19),
    (0.7, 35673, 86.11, -0.5975),
    (0.7, 32815, 80.729, -0.7317),
    (0.7, 13382, 85.545, -0.3134),
]


@pytest.mark.parametrize(("alpha", "params", "percent", "printed"), PUBLISHED)
def test_the_published_fitnesses_come_out(alpha, params, percent, printed):
    fitness = objective("genome", {"alpha": alpha})({"val_accuracy": percent / 100, "params": params})
    digits = len(str(printed).partition(".")[2])
    cut = math.trunc(fitness * 10**digits) / 10**digits
    assert printed in (round(fitness, digits), cut)  # Table X cuts


@pytest.mark.parametrize("params", [1, 650, 999, 1000, 1104, 1999])
def test_networks_under_a_thousand_parameters_count_as_a_thousand(params):
    fitness = objective("genome", {"alpha": 0.5})({"val_accuracy": 0.8, "params": params})
    assert fitness == pytest.approx(5 * 0.8 - 0.5 * 3)


def test_alpha_weighs_accuracy_against_size():
    metrics = {"val_accuracy": 0.8, "params": 25_999}
    assert objective("genome", {"alpha": 0.0})(metrics) == pytest.approx(8.0)
    assert objective("genome", {"alpha": 1.0})(metrics) == pytest.approx(-math.log10(25_000))


# -- several goals -------------------------------------------------------------------------------------------------


def test_weights_add_up():
    fitness = objective("weighted", {"weights": {"val_accuracy": 2, "latency_ms": -0.5}})
    assert fitness(REPORT) == 2 * 0.75 - 0.5 * 12
    assert fitness.reads == ("val_accuracy", "latency_ms")
    assert len(fitness.scores(REPORT)) == 1


def test_pareto_scores_are_all_to_be_maximised_and_the_first_is_the_fitness():
    goals = objective("pareto", {"metrics": {"val_accuracy": "max", "latency_ms": "min", "val_loss": "min"}})
    assert goals.scores(REPORT) == (0.75, -12.0, -0.5)
    assert goals(REPORT) == 0.75
    with pytest.raises(InputError, match="'val_loss' is not among"):
        goals({"val_accuracy": 1.0, "latency_ms": 1.0})


MORE_ERRORS = [
    ("genome", {"alpha": 1.5}, "'alpha' must be right: input should be less than or equal to 1, got 1.5"),
    ("genome", {"alpha": -0.1}, "'alpha' must be right: input should be greater than or equal to 0, got -0.1"),
    ("weighted", {"weights": {}}, "weights are finite numbers by metric"),
    ("weighted", {"weights": {"params": math.inf}}, "weights are finite numbers by metric"),
    ("weighted", {"weights": {"params": "1"}}, "'weights.params' must be right"),
    ("pareto", {"metrics": {"val_accuracy": "max"}}, "pareto takes two metrics or more"),
    ("pareto", {"metrics": {"val_accuracy": "max", "params": "low"}}, "should be 'max' or 'min', got 'low'"),
]


@pytest.mark.parametrize(("name", "options", "fragment"), MORE_ERRORS)
def test_more_objectives_are_read_strictly(name, options, fragment):
    with pytest.raises(InputError) as caught:
        objective(name, options)
    assert fragment in str(caught.value)


# -- limits --------------------------------------------------------------------------------------------------------

LIMITS = [
    ("params <= 100_000", 100_000, 100_001),
    ("params<100000", 99_999, 100_000),
    ("flops >= 2e6", 2_000_000, 1_999_999),
    ("memory_mb > .5", 0.6, 0.5),
    (" latency_ms <= 1.5E+1 ", 15, 15.1),
]


@pytest.mark.parametrize(("text", "inside", "outside"), LIMITS)
def test_a_limit_holds_or_not(text, inside, outside):
    limit = parse_limit(text)
    assert limit.holds({limit.cost: inside})
    assert not limit.holds({limit.cost: outside})
    assert limit.holds({"something else": 1})  # what is not known yet
    assert parse_limit(str(limit).replace(",", "")) == limit


def test_what_is_broken_is_said_with_its_value():
    limits = (parse_limit("params <= 1000"), parse_limit("flops <= 5"))
    assert broken(limits, {"params": 1500, "flops": 5}) == "params is 1,500, not <= 1,000"
    assert broken(limits, {"params": 1500, "flops": 6}) == "params is 1,500, not <= 1,000; flops is 6, not <= 5"
    assert broken(limits, {"params": 1000, "flops": 5}) is None


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("parms <= 5", "unknown cost 'parms'. Did you mean 'params'? Known: flops, latency_ms, memory_mb, params"),
        ("params", "a limit reads like 'params <= 100_000', got 'params'"),
        ("params <= many", "a limit reads like"),
        ("params == 5", "a limit reads like"),
        ("params <= 1e999", "a limit reads like"),
        ("params <= 1_0_.e", "a limit reads like"),
        ("", "a limit reads like"),
    ],
)
def test_limits_are_read_strictly(text, fragment):
    with pytest.raises(InputError) as caught:
        parse_limit(text)
    assert fragment in str(caught.value)
