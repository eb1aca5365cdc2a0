"""What a verdict says: statistics against closed forms, and planted outcomes."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from raynas.results.intervals import (
    chances_of_best,
    contrast,
    expected_largest,
    holm,
    mean_interval,
    most_likely_above,
    wilson,
)
from raynas.results.verdict import Ensemble, Network, Verdict, verdict_from
from raynas.run.ensemble import choose, mix, right

samples = st.lists(st.floats(0, 1), min_size=2, max_size=6).filter(lambda values: np.std(values) > 1e-3)


@given(samples)
def test_the_interval_of_a_mean_is_students(values):
    mean, half = mean_interval(values)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))


@given(samples, samples)
def test_the_difference_of_two_means_is_welchs(one, other):
    found, theirs = contrast([1, -1], [one, other]), stats.ttest_ind(one, other, equal_var=False)
    interval = theirs.confidence_interval(0.95)
    assert found.p == pytest.approx(theirs.pvalue, abs=1e-9)
    assert (found.value - found.half, found.value + found.half) == pytest.approx((interval.low, interval.high))


def test_equal_values_are_not_certain():
    """Two accuracies that are equal to the image may differ by half an image."""
    assert 0.05 < contrast([1, -1], [[0.50, 0.50], [0.51, 0.51]], step=0.01).p < 0.1
    assert contrast([1, -1], [[0.5, 0.5], [0.9, 0.9]], step=0.01).p < 0.01
    assert contrast([1, -1], [[0.5, 0.5], [0.5, 0.5]]).p == 1
    assert math.isnan(contrast([1, -1], [[0.5], [0.9, 0.8]]).p)


def test_holm():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])  # 3 * 0.01, then 2 * 0.03, then no less
    assert holm([0.9, 0.5]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@pytest.mark.parametrize(("count", "drawn"), [(count, drawn) for count in range(1, 6) for drawn in range(1, count + 1)])
def test_the_best_of_some_by_counting(count, drawn):
    draws = list(itertools.combinations(range(count), drawn))
    expected = [sum(max(draw) == place for draw in draws) / len(draws) for place in range(count)]
    assert chances_of_best(count, drawn) == pytest.approx(expected)


@pytest.mark.parametrize(("above", "count"), [(0, 3), (1, 3), (3, 3), (0, 50), (7, 20)])
def test_the_share_that_may_lie_above(above, count):
    interval = stats.binomtest(above, count, alternative="less").proportion_ci(0.95)
    assert most_likely_above(above, count) == pytest.approx(interval.high)


def test_the_expected_largest_of_normals():
    """By Harter's table (1961)."""
    table = {1: 0.0, 2: 0.56419, 3: 0.84628, 10: 1.53875, 20: 1.86748, 100: 2.50759}
    assert {count: expected_largest(count) for count in table} == pytest.approx(table, abs=1e-5)


def test_wilson_by_hand():
    low, high = wilson(0.9, 1000)
    assert (low, high) == pytest.approx((0.8798, 0.9171), abs=1e-4)


# -- planted outcomes ----------------------------------------------------------------------------------------------


def network(label, tests, params=1000, seconds=10.0, fitness=None, failed=0):
    kind = label.split()[0]
    tests = tuple(tests)
    return Network(
        label,
        kind,
        3 if kind == "finalist" else None,
        {"lr": 0.1},
        params,
        tuple(range(len(tests))),
        tests,
        tuple(fitness or tests),
        (seconds,) * len(tests),
        failed,
    )


def verdict(*networks, search_s=0.0, **more):
    return Verdict("planted", 1, 5, 10_000, "accuracy", search_s, networks, **more)


BEST = network("finalist 1", (0.90, 0.902, 0.904), params=9000)
LIKE = network("finalist 2", (0.899, 0.9015, 0.904), params=4000)
WORSE = network("finalist 3", (0.85, 0.852, 0.854), params=100)
RANDOMS = [network(f"random {number}", (0.7 + number / 100, 0.702 + number / 100, 0.704 + number / 100)) for number in (1, 2, 3)]  # fmt: skip
BASE = network("baseline", (0.88, 0.881, 0.882))


def test_a_clear_winner():
    found = verdict(WORSE, BEST, BASE, *RANDOMS, search_s=0.0)
    assert found.best is BEST
    assert found.tied == [BEST]
    assert found.recommended is BEST
    assert found.recommended_trial == 2  # the highest fitness
    assert found.affordable == 2  # two finalists of 10 s each
    assert found.beats_random == "yes"
    # the better of two of the three: random 3 in two of three draws, random 2 in one
    assert found.against_random.value == pytest.approx(0.902 - (2 * 0.732 + 0.722) / 3)
    said = " ".join(found.sentences())
    assert "Recommended: finalist 1 (9,000 parameters), test accuracy 0.9020 ± 0.0050" in said
    assert "Search beat random at equal cost: finalist 1" in said
    assert "Finalist 1 is 0.0210 ±" in said
    assert "than the baseline" in said
    assert "scored once at the end of each of 18 trainings" in said


def test_of_the_tied_the_smallest():
    found = verdict(BEST, LIKE, WORSE, *RANDOMS)
    assert [each.label for each in found.tied] == ["finalist 1", "finalist 2"]
    assert found.recommended is LIKE
    assert "the smallest of those that are tied" in found.sentences()[0]
    assert "Best on the test split: finalist 1" in found.sentences()[1]


def test_all_are_tied():
    networks = [network(f"finalist {size}", (0.5, 0.7, 0.6), params=size) for size in (3, 1, 2)]
    assert verdict(*networks).recommended.params == 1
    unknown = [network(f"finalist {number}", (0.5, 0.7, 0.6), params=None) for number in (1, 2)]
    assert verdict(*unknown).recommended.label == "finalist 1"


def test_ties_are_corrected_for_how_many_there_are():
    """p = 0.034 alone, 0.068 among two."""
    close = [network(f"finalist {number}", (0.888, 0.893, 0.8955), params=number) for number in (2, 3)]
    p = contrast([1, -1], [BEST.tests, close[0].tests]).p
    assert 0.025 < p < 0.05
    assert [each.label for each in verdict(BEST, close[0]).tied] == ["finalist 1"]
    assert len(verdict(BEST, *close).tied) == 3


def test_a_better_random_network():
    lucky = network("random 1", (0.95, 0.951, 0.952))
    found = verdict(BEST, lucky, *RANDOMS[1:], search_s=1000.0)
    assert found.beats_random == "worse"
    assert found.recommended is BEST  # of the finalists
    assert any(text.startswith("Random beat the search at equal cost") for text in found.sentences())
    assert found.above() == (1, 3)


def test_random_is_not_told_apart():
    found = verdict(BEST, network("random 1", LIKE.tests))
    assert found.beats_random == "no"
    assert any(text.startswith("The search did not show itself better than random") for text in found.sentences())


def test_what_few_random_networks_cannot_say():
    """The search cost as much as 41 random networks; three were trained."""
    found = verdict(BEST, *RANDOMS, search_s=400.0)
    assert found.affordable == 41
    assert found.beats_random == "unsure"
    said = " ".join(found.sentences())
    assert "cannot be said from 3: up to 63% of random networks may be better" in said
    assert "--random 41 would show it" in said
    many = [network(f"random {number}", (0.70, 0.71, 0.72)) for number in range(41)]
    assert verdict(BEST, *many, search_s=400.0).beats_random == "yes"
    assert verdict(BEST, *many[:-1], search_s=400.0).beats_random == "unsure"


def test_what_random_would_pick_by_validation():
    """The best on the test split is not what random search would take: its fitness is low."""
    hidden = network("random 1", (0.95, 0.951, 0.952), fitness=(0.1, 0.1, 0.1))
    found = verdict(BEST, hidden, RANDOMS[1], search_s=1000.0)
    assert found.against_random.value == pytest.approx(BEST.mean - RANDOMS[1].mean)
    swapped = network("finalist 2", (0.99, 0.99, 0.99), fitness=(0.1, 0.1, 0.1))
    assert verdict(BEST, swapped, *RANDOMS).pick is BEST


def test_failures_are_said_and_count_nowhere():
    failing = network("random 9", (), failed=3)
    found = verdict(BEST, failing, *RANDOMS)
    assert len(found.of_kind("random")) == 3
    assert any("3 of 3 trainings of random 9 failed" in text for text in found.sentences())
    nothing = verdict(network("finalist 1", (), failed=2))
    assert nothing.recommended is None
    assert nothing.recommended_trial is None
    assert nothing.sentences()[0].startswith("No finalist could be trained")


def test_one_training_is_no_interval():
    single = network("finalist 2", (0.9,))
    found = verdict(BEST, single)
    assert found.tied == [BEST]
    assert math.isnan(found.interval(single)[1])
    assert any("--seeds 3 or more" in text for text in found.sentences())


def test_without_random_networks_nothing_is_claimed():
    found = verdict(BEST)
    assert found.beats_random is None
    assert any("cannot be said" in text for text in found.sentences())


def test_a_verdict_comes_back_from_json():
    made = verdict(BEST, LIKE, BASE, *RANDOMS, notes=("a note",), ensemble=Ensemble(((0, 2), (1, 1)), 0.91, 0.90))
    again = verdict_from(json.loads(json.dumps(made.as_data())))
    assert again == made
    assert again.sentences() == made.sentences()
    assert "a note" in again.sentences()


# -- ensembles -----------------------------------------------------------------------------------------------------


def one_hot(labels, classes=3, sure=0.8):
    return np.where(np.eye(classes)[labels] > 0, sure, (1 - sure) / (classes - 1))


def test_an_ensemble_of_those_that_complete_each_other():
    """Three that are each wrong on another third, mildly; a fourth that is wrong on more."""
    labels = np.tile(np.arange(3), 30)
    members = []
    for third in range(3):
        said = one_hot(labels)
        wrong = np.arange(90) // 30 == third
        said[wrong] = one_hot((labels[wrong] + 1) % 3, sure=0.5)
        members.append(said)
    bad = one_hot((labels + 1) % 3)
    counts = choose([*members, bad], labels)
    assert counts[3] == 0
    assert min(counts[:3]) >= 1
    assert right(mix(members, counts[:3]), labels)[0] == 1.0
    assert max(right(each, labels)[0] for each in members) == pytest.approx(2 / 3)


def test_an_ensemble_is_never_worse_on_what_it_was_chosen_by():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 200)
    members = [rng.dirichlet(np.ones(4), 200) + 0.2 * np.eye(4)[labels] for _ in range(5)]
    counts = choose(members, labels)
    assert right(mix(members, counts), labels) >= max(right(each, labels) for each in members)
    assert choose(members, labels) == counts
    on_the_way = [right(mix(members, choose(members, labels, rounds)), labels) for rounds in range(1, 31)]
    assert on_the_way == sorted(on_the_way)  # the best so far, not the last


def test_labels_by_themselves():
    labels = np.array([[1.0, 0.0], [0.0, 0.0]])
    said = np.array([[0.9, 0.2], [0.6, 0.1]])
    assert right(said, labels)[0] == 0.75
