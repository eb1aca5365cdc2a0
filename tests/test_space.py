"""Spaces and domains: laws over a table of every kind of dimension, then over random domains."""

import math
import pickle
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import tune
from ray.tune.experiment import Experiment
from ray.tune.search import BasicVariantGenerator
from ray.tune.search.variant_generator import generate_variants

from raynas.models import same_network
from raynas.rng import stream
from raynas.space import Genome, Space, kinds, names, read
from raynas.space.macro import Macro
from raynas.space.micro_cell import MicroCell
from raynas.tables import InputError

NAN, INF = float("nan"), float("inf")
GENOME = {"layers": [3, 6], "filters": [5, 8], "kernels": [1, 3, 5], "activations": ["relu", "gelu"], "reductions": 1}

# name: (domain, every value in order or None, what it does not hold)
KINDS = {
    "uniform": (tune.uniform(-2.0, 3.5), None, [-2.1, 3.6]),
    "uniform_narrow": (tune.uniform(1.0, 1.0 + 2**-51), None, [1.0 + 2**-50]),
    "quniform": (tune.quniform(0.3, 0.9, 0.1), [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], [0.2, 0.35, 0.301, 1.0]),
    "quniform_negative": (tune.quniform(-1.0, 1.0, 0.5), [-1.0, -0.5, 0.0, 0.5, 1.0], [-1.5, 0.25]),
    "quniform_one": (tune.quniform(0.5, 0.5, 0.5), [0.5], [0.0, 1.0]),
    "loguniform": (tune.loguniform(3e-4, 1e-2), None, [0, 2e-4, 0.02]),
    "qloguniform": (tune.qloguniform(0.1, 0.6, 0.1), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.0, 0.05, 0.15, 0.7]),
    "randint": (tune.randint(0, 3), [0, 1, 2], [-1, 3, 0.5]),
    "randint_negative": (tune.randint(-2, 2), [-2, -1, 0, 1], [-3, 2]),
    "randint_one": (tune.randint(7, 8), [7], [6, 8]),
    "randint_large": (tune.randint(0, 2**40), None, [2**40, -1]),
    "qrandint": (tune.qrandint(0, 12, 4), [0, 4, 8, 12], [-4, 2, 16]),
    "qrandint_inside": (tune.qrandint(3, 14, 4), [4, 8, 12], [0, 3, 14, 16]),
    "qrandint_step_1": (tune.qrandint(0, 3, 1), [0, 1, 2], [3]),
    "qrandint_one": (tune.qrandint(4, 7, 4), [4], [5, 7, 8]),
    "lograndint": (tune.lograndint(1, 6), [1, 2, 3, 4, 5], [0, 6]),
    "qlograndint": (tune.qlograndint(8, 32, 8), [8, 16, 24, 32], [0, 12, 40]),
    "choice": (tune.choice([0, 0.25, "relu", None, True]), [0, 0.25, "relu", None, True], [False, "gelu", 2]),
    "choice_one": (tune.choice(["only"]), ["only"], ["other"]),
    "genome": (Genome(**GENOME), None, ["NC 5 1 relu;FL relu"]),
    "genome_one": (
        Genome(layers=[2, 2], filters=[5, 5], kernels=[3], activations=["relu"], reductions=0),
        None,
        ["NC 5 1 relu;FL relu"],
    ),
    "micro_cell": (MicroCell(nodes=3), None, ["|skip_connect~0|skip_connect~1|", "0 1 0 1 0 1 0 1 0 1 0 1"]),
    "micro_cell_one": (
        MicroCell(nodes=1, operations=["a"]),
        ["|a~0|a~0|", "|a~0|a~1|", "|a~1|a~0|", "|a~1|a~1|"],
        ["|b~0|a~0|", "|a~0|a~2|", "|a~0|"],
    ),
    "macro": (Macro(layers=5), None, ["conv_3x3+conv_3x3~1", "0 0 1 0 1 1 0 1 1 1 0 1 1 1 1"]),
    "macro_two": (
        Macro(layers=2, operations=["a", "b"]),
        ["a+a", "a+a~1", "a+b", "a+b~1", "b+a", "b+a~1", "b+b", "b+b~1"],
        ["a", "a+c", "a+b~2", "a+b~1~1"],
    ),
    "macro_one": (Macro(layers=1, operations=["a"]), ["a"], ["b", "a+a"]),
}
NEVER = [NAN, INF, -INF, "", "1", [], {}, b"1", 10**400, -(10**400)]
PLAIN = [name for name in KINDS if not name.startswith(("genome", "micro", "macro"))]
LISTED = [name for name, (_, values, _) in KINDS.items() if values is not None]


def draws(domain, count=60, seed=0):
    return [kinds.draw(domain, stream(seed, n)) for n in range(count)]


def typed(values):
    return [(type(value), value) for value in values]


def plain(value):
    """A number of NumPy as one of Python."""
    return value.item() if isinstance(value, np.generic) else value


def same(one, other):
    """Equal, or equal but for float rounding."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return type(one) is type(other) and one == other


# -- laws over the table ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_draws_are_contained_and_a_function_of_the_generator(name):
    domain = KINDS[name][0]
    values = draws(domain)
    assert all(kinds.contains(domain, value) for value in values)
    assert values == draws(domain)
    if kinds.size(domain) > 1:
        assert values != draws(domain, seed=1)
        assert len(set(values)) > 1


@pytest.mark.parametrize("name", LISTED)
def test_every_value_is_reached_and_no_other(name):
    domain, values, _ = KINDS[name]
    assert typed(kinds.levels(domain)) == typed(values)
    assert kinds.size(domain) == len(values)
    reached = {(type(value), value) for value in draws(domain, 200)}
    assert reached == set(typed(values))


@pytest.mark.parametrize("name", [name for name in PLAIN if name not in LISTED])
def test_what_cannot_be_listed_is_not(name):
    domain = KINDS[name][0]
    assert kinds.levels(domain) is None
    assert kinds.size(domain) == (2**40 if name == "randint_large" else INF)


@pytest.mark.parametrize("name", KINDS)
def test_strangers_are_not_contained(name):
    domain, values, strangers = KINDS[name]
    known = values or []
    for value in [*strangers, *NEVER, *([] if name == "choice" else [True, False, None])]:
        assert kinds.contains(domain, value) is False, value
    assert all(kinds.contains(domain, value) is True for value in known)


@pytest.mark.parametrize("name", KINDS)
def test_mutants_are_contained_and_differ_unless_there_is_one_value(name):
    domain, values, _ = KINDS[name]
    for start in [*draws(domain, 20), *(values or [])]:
        mutants = [kinds.mutate(domain, start, stream(1, n)) for n in range(40)]
        assert all(kinds.contains(domain, mutant) for mutant in mutants)
        if kinds.size(domain) > 1:
            assert all((type(m), m) != (type(start), start) for m in mutants), start
        else:
            assert mutants == [start] * 40
        assert mutants == [kinds.mutate(domain, start, stream(1, n)) for n in range(40)]


@pytest.mark.parametrize("name", LISTED)
def test_mutation_reaches_every_value_step_by_step(name):
    domain, values, _ = KINDS[name]
    seen, found = set(), [values[0]]
    for n in range(1000):
        seen.add((type(found[-1]), found[-1]))
        found.append(kinds.mutate(domain, found[-1], stream(2, n)))
    assert seen == set(typed(values))


@pytest.mark.parametrize("name", ["uniform", "loguniform", "randint_large"])
def test_numeric_mutants_are_near_and_go_both_ways(name):
    domain = KINDS[name][0]
    start = kinds.decode(domain, 0.5)
    moves = np.array([kinds.encode(domain, kinds.mutate(domain, start, stream(3, n))) for n in range(400)]) - 0.5
    assert 0.4 < (moves > 0).mean() < 0.6
    assert 0.1 < np.median(np.abs(moves)) < 0.17  # the median of |normal(0, 0.2)| is 0.135


@pytest.mark.parametrize("name", KINDS)
def test_children_are_contained(name):
    domain = KINDS[name][0]
    ones, others = draws(domain, 30), draws(domain, 30, seed=1)
    for n, pair in enumerate(zip(ones, others, strict=True)):
        child = kinds.cross(domain, *pair, stream(4, n))
        assert kinds.contains(domain, child)
        assert child == kinds.cross(domain, *pair, stream(4, n))
        assert name not in PLAIN or child in pair


@pytest.mark.parametrize("name", [name for name in PLAIN if kinds.size(KINDS[name][0]) > 1])
def test_both_parents_pass_on_their_values_equally(name):
    domain = KINDS[name][0]
    one, other = kinds.decode(domain, 0.0), kinds.decode(domain, 1.0)
    count = sum(kinds.cross(domain, one, other, stream(5, n)) == one for n in range(400))
    assert 160 < count < 240  # 4 standard deviations


@pytest.mark.parametrize("name", KINDS)
def test_encode_and_flat_come_back(name):
    domain, values, _ = KINDS[name]
    space = Space({"x": domain})
    for value in [*draws(domain, 30), *(values or [])]:
        config = {"x": value}
        flattened = space.flatten(config)
        assert list(flattened) == list(space.flat())
        assert typed(space.unflat(flattened).values()) == typed(config.values())
        assert all(kinds.contains(gene, flattened[key]) for key, gene in space.flat().items())
        point = space.encode(config)
        assert point.dtype == np.float64
        assert point.shape == (len(space.flat()),)
        assert ((point >= 0) & (point <= 1)).all()
        assert same(space.decode(point)["x"], value)


@pytest.mark.parametrize("name", KINDS)
def test_every_combination_of_flat_values_and_every_point_stands_for_a_config(name):
    space = Space({"x": KINDS[name][0]})
    flat = space.flat()
    ends = [{key: kinds.decode(gene, u) for key, gene in flat.items()} for u in (0.0, 1.0)]
    for seed in range(30):
        by_ray = {key: gene.sample(random_state=seed) for key, gene in flat.items()}
        mixed = {key: ends[stream(6, seed, n).integers(2)][key] for n, key in enumerate(flat)}
        for values in (by_ray, mixed, *ends):
            assert space.contains(space.unflat(values)), values
        assert space.contains(space.decode(stream(7, seed).random(len(flat))))
    for point in (np.zeros(len(flat)), np.ones(len(flat))):
        assert space.contains(space.decode(point))


@pytest.mark.parametrize("name", KINDS)
def test_what_plain_ray_tune_samples_is_contained_and_has_our_identity(name):
    domain = KINDS[name][0]
    space = Space({"x": domain})
    three = domain.sample(size=3, random_state=0)
    many = [domain.sample(random_state=np.random.default_rng(n)) for n in range(50)]
    legacy = [domain.sample(random_state=np.random.RandomState(n)) for n in range(5)]
    assert len(three) == 3
    for value in [*three, *many, *legacy]:
        assert kinds.contains(domain, value), value
        if name in LISTED:  # Ray's grids have values like 0.30000000000000004
            (spelled,) = [known for known in kinds.levels(domain) if same(known, plain(value))]
            assert space.identity({"x": value}) == space.identity({"x": spelled})
    assert [domain.sample(random_state=np.random.default_rng(n)) for n in range(50)] == many
    if kinds.size(domain) > 1:
        assert len(set(many)) > 1


EVERYTHING = Space({"model": "genome"} | {name: domain for name, (domain, _, _) in KINDS.items()})


def test_rays_basic_variant_generator_samples_a_space(tmp_path):
    generator = BasicVariantGenerator(random_state=0)
    config = dict(EVERYTHING.parameters)
    generator.add_configurations(Experiment("test", print, config=config, num_samples=8, storage_path=str(tmp_path)))
    configs = [trial.config for trial in iter(generator.next_trial, None)]
    assert len(configs) == 8
    for config in configs:
        EVERYTHING.check(config)
    assert len({config["genome"] for config in configs}) == 8


def test_rays_variants_are_a_function_of_their_random_state():
    def sampled(seed):
        variants = generate_variants({"config": dict(EVERYTHING.parameters)}, random_state=np.random.default_rng(seed))
        return [spec["config"] for _, spec in variants]

    assert sampled(0) == sampled(0)
    assert sampled(0) != sampled(1)


@pytest.mark.parametrize("name", KINDS)
def test_a_space_written_down_reads_back(name):
    space = read({"x": KINDS[name][0], "model": "genome"})
    back = read(space.spec())
    assert back.spec() == space.spec()
    assert back.flat().keys() == space.flat().keys()
    assert back.size() == space.size()
    for n in range(10):
        assert back.sample(stream(0, n)) == space.sample(stream(0, n))
        assert back.contains(space.sample(stream(1, n)))


@pytest.mark.parametrize("name", KINDS)
def test_a_domain_travels_to_other_processes(name):
    domain = KINDS[name][0]
    there = pickle.loads(pickle.dumps(domain))  # noqa: S301 -- our own
    assert draws(there) == draws(domain)
    assert kinds.show(there) == kinds.show(domain)


# -- how often ----------------------------------------------------------------------------------------------------

SHARES = {
    "randint": [1 / 3] * 3,
    "qrandint": [0.25] * 4,
    "quniform": [1 / 7] * 7,  # the end values have a full share (Ray gives them half of one)
    "choice": [0.2] * 5,
    "lograndint": [math.log((n + 0.5) / (n - 0.5)) / math.log(5.5 / 0.5) for n in range(1, 6)],
}


@pytest.mark.parametrize("name", SHARES)
def test_values_come_as_often_as_they_should(name):
    domain, values, _ = KINDS[name]
    rng = stream(8, 0)
    counts = Counter(str(kinds.draw(domain, rng)) for _ in range(4000))
    found = np.array([counts[str(value)] for value in values]) / 4000
    assert np.abs(found - SHARES[name]).max() < 0.03  # 4 standard deviations of the worst


@pytest.mark.parametrize(("name", "middle"), [("uniform", 0.75), ("loguniform", math.sqrt(3e-4 * 1e-2))])
def test_the_middle_of_a_range_is_its_median(name, middle):
    domain = KINDS[name][0]
    rng = stream(9, 0)
    below = np.mean([kinds.draw(domain, rng) < middle for _ in range(4000)])
    assert abs(below - 0.5) < 0.03
    assert math.isclose(kinds.decode(domain, 0.5), middle, rel_tol=1e-9)
    low, high = kinds.decode(domain, 0.0), kinds.decode(domain, 1.0)
    assert math.isclose(low, domain.lower)
    assert math.isclose(high, domain.upper)


@pytest.mark.parametrize("domain", [tune.choice(list("abcde")), tune.randint(3, 8), tune.quniform(0, 2, 0.5)])
def test_values_lie_in_the_middle_of_even_shares_of_the_unit_interval(domain):
    """Where rounding cannot reach them, whatever a searcher does to the point."""
    assert np.allclose([kinds.encode(domain, value) for value in kinds.levels(domain)], [0.1, 0.3, 0.5, 0.7, 0.9])
    assert [kinds.decode(domain, u) for u in (0.05, 0.25, 0.45, 0.65, 0.85)] == kinds.levels(domain)
    assert [kinds.decode(domain, u) for u in (0.15, 0.35, 0.55, 0.75, 0.95)] == kinds.levels(domain)


def test_numbers_and_truth_are_different_choices():
    domain = read({"x": {"choice": [1, True, 1.0, 0]}}).domains["x"]
    assert [kinds.decode(domain, kinds.encode(domain, value)) for value in (1, True, 1.0, 0)] == [1, True, 1.0, 0]
    assert [type(kinds.decode(domain, kinds.encode(domain, value))) for value in (1, True, 1.0)] == [int, bool, float]


# -- laws over random domains ---------------------------------------------------------------------------------------

STEPS = st.sampled_from([0.1, 0.05, 0.25, 0.3, 1e-3, 1.0, 7.0])
VERBS = st.sampled_from([q + log + verb for q in ("", "q") for log in ("", "log") for verb in ("uniform", "randint")])


@st.composite
def domains(draw):
    verb = draw(VERBS)
    log, whole = "log" in verb, "int" in verb
    low = draw(st.integers(1 if log else -40, 50))
    width = draw(st.integers(1, 200))
    if whole:
        if verb.startswith("q"):
            step = draw(st.integers(2, 9))
            return getattr(tune, verb)(low, low + width + step, step)
        return getattr(tune, verb)(low, low + width)
    step = draw(STEPS)
    ends = (low * step, (low + width) * step)
    return getattr(tune, verb)(*ends, step) if verb.startswith("q") else getattr(tune, verb)(*ends)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(domains(), st.integers(0, 2**32), st.floats(0, 1))
def test_laws_hold_for_random_domains(domain, seed, u):
    space = read({"x": domain})
    listed = kinds.levels(domain)
    starts = [kinds.decode(domain, u), *draws(domain, 4, seed), domain.sample(random_state=seed)]
    if listed is not None:
        assert listed == sorted(set(listed))
        starts += [listed[0], listed[-1], listed[len(listed) // 2]]
        assert kinds.size(domain) == len(listed)
    for n, value in enumerate(starts):
        assert kinds.contains(domain, value), value
        assert domain.lower - 1e-9 <= value <= domain.upper + 1e-9
        assert same(kinds.decode(domain, kinds.encode(domain, value)), space.unflat(space.flatten({"x": value}))["x"])
        mutant = kinds.mutate(domain, value, stream(seed, n))
        assert kinds.contains(domain, mutant), mutant
        assert kinds.size(domain) == 1 or mutant != value
        assert read(space.spec()).contains({"x": value})


LISTS = st.lists(st.integers(), max_size=2)
ANYTHING = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), LISTS)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(ANYTHING)
def test_contains_answers_for_anything(value):
    for domain, _, _ in KINDS.values():
        assert kinds.contains(domain, value) in (True, False)


# -- spaces -------------------------------------------------------------------------------------------------------

MIXED = read(
    {
        "model": "genome",
        "architecture": {"genome": GENOME},
        "lr": {"loguniform": [1e-4, 1e-1]},
        "width": {"randint": [0, 3]},
        "drop": {"choice": [0, 0.5]},
        "fixed": {"choice": ["only"]},
        "note": None,
    }
)


def test_configs_hold_every_parameter_in_order_and_the_constants():
    config = MIXED.sample(stream(0, 0))
    flat = {key: kinds.draw(gene, stream(0, n)) for n, (key, gene) in enumerate(MIXED.flat().items())}
    changed = [MIXED.mutate(config, stream(0, 1)), MIXED.cross(config, config, stream(0, 2)), MIXED.unflat(flat)]
    for made in (config, *changed):
        assert list(made) == list(MIXED.parameters)
        assert made["model"] == "genome"
        assert made["note"] is None
        MIXED.check(made)
    assert list(MIXED.domains) == ["architecture", "lr", "width", "drop", "fixed"]
    assert MIXED.constants == {"model": "genome", "note": None}


def test_a_mutation_changes_one_parameter_each_as_often():
    config = MIXED.sample(stream(0, 0))
    before, changed = dict(config), Counter()
    for n in range(800):
        mutant = MIXED.mutate(config, stream(1, n))
        (name,) = [name for name in config if mutant[name] != config[name]]
        changed[name] += 1
    assert set(changed) == {"architecture", "lr", "width", "drop"}
    assert all(150 < count < 250 for count in changed.values())  # 4 standard deviations
    assert config == before


def test_what_cannot_change_is_left_alone():
    space = read({"a": {"choice": [1]}, "b": 2})
    config = space.sample(stream(0, 0))
    mutant = space.mutate(config, stream(0, 1))
    assert mutant == config
    assert mutant is not config


def test_a_child_takes_each_parameter_from_either_parent_on_its_own():
    one, other = ({"lr": lr, "width": width, "drop": drop} for lr, width, drop in ((0.1, 0, 0), (0.2, 1, 0.5)))
    space = read({"lr": {"uniform": [0, 1]}, "width": {"randint": [0, 3]}, "drop": {"choice": [0, 0.5]}})
    children = {tuple(space.cross(one, other, stream(0, n)).values()) for n in range(100)}
    assert children == {(lr, width, drop) for lr in (0.1, 0.2) for width in (0, 1) for drop in (0, 0.5)}


CHECKS = [
    ({"lr": 2.0}, "parameter 'lr' must be of {'loguniform': [0.0001, 0.1]}, got 2.0"),
    ({"width": 3}, "parameter 'width' must be of {'randint': [0, 3]}, got 3"),
    ({"model": "other"}, "parameter 'model' is always 'genome', got 'other'"),
    ({"architecture": "NC"}, "parameter 'architecture' must be of {'genome'"),
    ({"widht": 1}, "unknown parameter 'widht'. Did you mean 'width'?"),
]


def test_check_names_everything_that_is_wrong():
    good = MIXED.sample(stream(0, 0))
    MIXED.check(good)
    for change, fragment in CHECKS:
        with pytest.raises(InputError) as caught:
            MIXED.check({**good, **change})
        assert fragment in str(caught.value)
        assert not MIXED.contains({**good, **change})
    with pytest.raises(InputError) as caught:
        MIXED.check({"lr": 2.0, "widht": 1})
    for fragment in ("'widht'. Did you mean 'width'", "'lr' must be of", "'drop' is missing", "'model' is missing"):
        assert fragment in str(caught.value)


# -- identity: what network is it? ------------------------------------------------------------------------------------


def test_identity_tells_configs_apart_and_does_not_see_their_order():
    configs = [MIXED.sample(stream(0, n)) for n in range(200)]
    assert len({MIXED.identity(config) for config in configs}) == len({str(config) for config in configs})
    assert all(MIXED.identity(dict(reversed(config.items()))) == MIXED.identity(config) for config in configs)
    assert all(len(MIXED.identity(config)) == 16 for config in configs)
    for n, config in enumerate(configs):
        assert MIXED.identity(MIXED.mutate(config, stream(1, n))) != MIXED.identity(config)


SAME = [
    ({"architecture": "NC 5 3 relu ; RC 6 3 gelu;FL relu;"}, {"architecture": "NC 5 3 relu;RC 6 3 gelu;FL relu"}),
    ({"architecture": " NC  05 3 relu;RC 6 3 gelu;\nFL relu"}, {"architecture": "NC 5 3 relu;RC 6 3 gelu;FL relu"}),
    ({"width": 2.0}, {"width": 2}),
    ({"width": np.int64(2)}, {"width": 2}),
    ({"lr": np.float64(0.01)}, {"lr": 0.01}),
    ({"drop": 0.0}, {"drop": 0}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_configs_that_mean_the_same_have_one_identity(one, other):
    config = MIXED.sample(stream(0, 0))
    assert MIXED.contains({**config, **one})
    assert MIXED.identity({**config, **one}) == MIXED.identity({**config, **other})


def test_golden_identity():
    """What is stored today must be found again by later versions."""
    config = {"architecture": "NC 5 3 relu;RC 6 3 gelu;FL relu", "lr": 0.01, "width": 2, "drop": 0, "fixed": "only"}
    assert MIXED.identity({**config, **MIXED.constants}) == "0654e27d5e0a51ec"


def test_dead_blocks_of_a_simple_cnn_make_no_other_network():
    plain = read("simple_cnn")
    configs = [{"model": "simple_cnn", "conv_layers": n, "hidden": 16, "dropout": 0.2, "lr": 1e-3} for n in range(1, 6)]

    def identities(side):
        space = read(plain.merging(same_network(plain.constants, (1, side, side))))
        return [space.identity(config) for config in configs]

    assert len(set(map(plain.identity, configs))) == 5
    one, two, three, four, five = identities(28)
    assert three == four == five
    assert len({one, two, three}) == 3
    one, two, three, four, five = identities(64)
    assert len({one, two, three, four}) == 4
    assert four == five  # 64 px: 31, 14, 6, 2
    assert len(set(identities(128))) == 5


# -- sizes ----------------------------------------------------------------------------------------------------------


def test_exact_sizes():
    simple = read("simple_cnn")
    names_ = ("conv_layers", "hidden", "dropout")
    assert simple.size(names_) == 9940
    assert simple.networks(names_) == 9940
    assert simple.size() == INF
    merged = simple.merging(same_network(simple.constants, (1, 28, 28)))
    assert merged.networks(names_) == 5964
    assert merged.size(names_) == 9940
    assert merged.networks(["lr"]) is None
    assert read("genome_cnn").size(["architecture", "model"]) == 722820998948733880712640000000
    assert read("genome_cnn").networks(["architecture"]) == 722820998948733880712640000000
    assert read("enas_micro").size(["normal"]) == 5**10 * math.factorial(6) ** 2 == 5.0625e12
    assert read("enas_macro").size() == 6**12 * 2**66
    assert read({"a": 1}).size() == 1
    assert read({"a": {"randint": [0, 5]}, "b": {"choice": [1, 2]}, "c": 3}).size() == 10


# -- reading: by name, path, module, dict -----------------------------------------------------------------------------


def test_spaces_that_come_with_raynas():
    assert {"genome_cnn", "simple_cnn"} <= set(names())
    assert names() == sorted(names())


@pytest.mark.parametrize("name", names())
def test_each_space_that_comes_with_raynas_is_sound(name):
    space = read(name)
    assert space.about
    assert read(space.spec()).spec() == space.spec()
    for n in range(5):
        config = space.sample(stream(0, n))
        space.check(config)
        space.check(space.mutate(config, stream(1, n)))
        assert space.unflat(space.flatten(config)) == config


PARAMETERS = """parameters:
  lr: {loguniform: [1e-4, 1e-1]}
  n: {grid_search: [1, 2]}
  q: {qrandint: {lower: 0, upper: 8, q: 2}}
  c: true
"""
SPEC = {"lr": {"loguniform": [1e-4, 1e-1]}, "n": {"choice": [1, 2]}, "q": {"qrandint": [0, 8, 2]}, "c": True}


@pytest.mark.parametrize("ending", ["yaml", "yml"])
@pytest.mark.parametrize("form", [str, lambda path: path])
def test_read_a_file(tmp_path, ending, form):
    path = tmp_path / f"mine.{ending}"
    path.write_text("about: >\n  mine\n" + PARAMETERS, encoding="utf-8")
    space = read(form(path))
    assert space.spec() == SPEC
    assert space.about == "mine"


def test_read_what_ray_tune_users_already_have():
    given = {"lr": tune.loguniform(1e-4, 1e-1), "n": tune.grid_search([1, 2]), "q": tune.qrandint(0, 8, 2), "c": True}
    assert read(given).spec() == SPEC
    assert read(Space(given, "about")).about == "about"
    assert read(Space(given)).spec() == SPEC


FILES = {
    "key": ("parameter: {}\n" + PARAMETERS, "unknown key 'parameter'. Did you mean 'parameters'? Known: about,"),
    "no_parameters": ("about: x\n", "must have 'parameters', a mapping of names to domains"),
    "list": ("parameters: [1]\n", "must have 'parameters', a mapping of names to domains"),
    "empty": ("parameters: {}\n", "a space needs at least one parameter"),
    "broken": ("parameters: [\n", "is not YAML"),
    "object": ("parameters: !!python/object:os.system {}\n", "is not YAML"),
    "inside": ("parameters: {lr: {uniform: [1, 0]}}\n", "parameter 'lr'"),
    "absent": (None, "cannot read"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_wrong_with_a_file_is_said_with_its_name(tmp_path, name):
    content, fragment = FILES[name]
    path = tmp_path / f"{name}.yaml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read(path)
    assert fragment in str(caught.value)
    assert str(path) in str(caught.value)


WRONG = [
    ({"unifrom": [0, 1]}, "Did you mean 'uniform'? Known: uniform, quniform"),
    ({"genom": {}}, "Did you mean 'genome'?"),
    ({}, "must be {verb: arguments}"),
    ({"uniform": [0, 1], "randint": [0, 1]}, "must be {verb: arguments}"),
    ([1, 2], "must be a constant or one of {verb: arguments}, got [1, 2]"),
    ({"uniform": [0]}, "missing 1 required positional argument"),
    ({"uniform": [0, 1, 2]}, "uniform takes lower, upper"),
    ({"loguniform": [1, 2, 10]}, "loguniform takes lower, upper"),
    ({"loguniform": {"lower": 1, "upper": 2, "base": 10}}, "loguniform takes lower, upper"),
    ({"randint": [3]}, "missing 1 required positional argument"),
    ({"quniform": [0, 1]}, "missing 1 required positional argument"),
    ({"quniform": [0, 1, 0.1, 2]}, "quniform takes lower, upper, q"),
    ({"uniform": {"lower": 0, "uper": 1}}, "uniform takes lower, upper"),
    ({"uniform": 3}, "uniform takes numbers like [low, high], got 3"),
    ({"uniform": ["a", 1]}, "uniform takes numbers"),
    ({"uniform": [False, True]}, "uniform takes numbers"),
    ({"uniform": [1, 1]}, "holds no value; it must read [low, high] with low < high"),
    ({"uniform": [1, 0]}, "holds no value"),
    ({"uniform": [NAN, 1]}, "uniform"),
    ({"uniform": [0, NAN]}, "uniform"),
    ({"uniform": [0, INF]}, "uniform"),
    ({"uniform": [0, 10**400]}, "int too large"),
    ({"loguniform": [0, 1]}, "loguniform"),
    ({"loguniform": [-1, 1]}, "loguniform"),
    ({"loguniform": [1, 1]}, "holds no value"),
    ({"lograndint": [0, 5]}, "lograndint"),
    ({"randint": [3, 3]}, "holds no value"),
    ({"randint": [3, 2]}, "holds no value"),
    ({"randint": [0, 2.5]}, "randint takes whole numbers"),
    ({"randint": [0, 2**60]}, "whole numbers are exact up to 2**53"),
    ({"qrandint": [3, 3, 1]}, "holds no value"),
    ({"qrandint": [5, 7, 4]}, "holds no value"),
    ({"quniform": [0, 1, 0.3]}, "not divisible"),
    ({"quniform": [1, 0, 0.5]}, "holds no value"),
    ({"quniform": [0, 1, 0]}, "quniform"),
    ({"quniform": [0, 1, -0.5]}, "q must be"),
    ({"quniform": [0, 1, INF]}, "q must be"),
    ({"quniform": [0, 1, NAN]}, "quniform"),
    ({"qrandint": [0, 4, 0]}, "q must be"),
    ({"qrandint": [0, 4, -2]}, "q must be"),
    ({"qrandint": [0, 4, 1.5]}, "qrandint takes whole numbers"),
    ({"choice": []}, "choice takes a list of values, got []"),
    ({"choice": "relu"}, "choice takes a list of values, got 'relu'"),
    ({"choice": [{"a": 1}]}, "a choice is a number, a string, true, false or null, got {'a': 1}"),
    ({"choice": [[1], [2]]}, "a choice is a number"),
    ({"choice": [1, 2, 1]}, "holds a value twice"),
    ({"choice": [float("0.1"), 0.2, float("0.10")]}, "holds a value twice"),
    ({"grid_search": ["a", "a"]}, "holds a value twice"),
    ({"genome": [3, 10]}, "genome takes named arguments, got [3, 10]"),
    ({"genome": {**GENOME, "kernel": [1]}}, "unknown key 'kernel'. Did you mean 'kernels'?"),
    ({"genome": {"layers": [3, 6], "filters": [5, 8]}}, "'kernels' is missing"),
    ({"genome": {**GENOME, "layers": [3, 2.5]}}, "'layers.1' must be right"),
    (tune.sample_from(lambda config: 1), "Function cannot be written down"),
    (tune.randn(0, 1), "has no range to search"),
    (tune.qrandn(0, 1, 0.5), "has no range to search"),
    (tune.choice([{"a": 1}]), "a choice is a number"),
    (tune.choice([]), "choice takes a list of values"),
    (tune.choice([1, 1]), "holds a value twice"),
    (tune.randint(3, 3), "holds no value"),
    (tune.uniform(2, 1), "holds no value"),
    (tune.qrandint(0, 6, -2), "q must be"),
    (tune.qrandint(0, 6, 2.5), "q must be"),
    (object(), "must be a constant"),
]


@pytest.mark.parametrize(("value", "fragment"), WRONG, ids=lambda value: str(value)[:50])
def test_a_wrong_domain_is_named_with_what_would_do(value, fragment):
    with pytest.raises(InputError) as caught:
        read({"good": 1, "bad": value})
    assert "parameter 'bad'" in str(caught.value)
    assert fragment in str(caught.value)


@pytest.mark.parametrize("name", ["", "a.b", "a b", "1a", "ä", "a-b", 3])
def test_names_of_parameters_are_plain(name):
    with pytest.raises(InputError, match="a parameter's name is letters, digits and '_'"):
        read({name: 1})


def test_a_space_needs_parameters():
    with pytest.raises(InputError, match="a space needs at least one parameter"):
        read({})


def test_an_unknown_space_gets_the_nearest():
    with pytest.raises(InputError) as caught:
        read("genome_cn")
    assert str(caught.value).startswith("unknown space 'genome_cn'. Did you mean 'genome_cnn'? Known: ")
    assert "YAML path or package.module:name" in str(caught.value)


MODULE = """
from ray import tune
from raynas.space import Space
domains = {"lr": tune.loguniform(1e-4, 1e-1), "n": tune.grid_search([1, 2]), "q": tune.qrandint(0, 8, 2), "c": True}
space = Space(domains)
number = 3
wrong = {"lr": tune.randn()}
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "raynas_test_space.py").write_text(MODULE, encoding="utf-8")
    yield "raynas_test_space"
    sys.modules.pop("raynas_test_space", None)


@pytest.mark.parametrize("name", ["domains", "space"])
def test_a_space_of_ones_own_by_import_name(own_module, name):
    assert read(f"{own_module}:{name}").spec() == SPEC


OWN_ERRORS = [
    ("raynas_test_space:number", "'raynas_test_space:number' must be a Space or a dict of Ray Tune domains, got int"),
    ("raynas_test_space:domain", "module 'raynas_test_space' has no 'domain'. Did you mean 'domains'?"),
    ("raynas_test_nowhere:space", "cannot import space 'raynas_test_nowhere:space': ModuleNotFoundError"),
    ("raynas_test_space:wrong", "parameter 'lr'"),
]


@pytest.mark.parametrize(("name", "fragment"), OWN_ERRORS)
def test_what_is_wrong_with_a_space_of_ones_own_is_said(own_module, name, fragment):
    with pytest.raises(InputError) as caught:
        read(name)
    assert fragment in str(caught.value)


def test_features_are_a_vector_of_one_length():
    space = read({"a": tune.choice(["x", "y", "z"]), "b": tune.uniform(0.0, 2.0), "n": tune.randint(0, 100)})
    assert space.features({"a": "y", "b": 0.5, "n": 99}) == pytest.approx([0, 1, 0, 0.25, 0.995])
    genomes = read("genome_cnn")
    shapes = {genomes.features(genomes.sample(stream(0, number))).shape for number in range(20)}
    assert len(shapes) == 1


def test_neighbours_differ_by_one_decision():
    space = read({"a": tune.choice(["x", "y", "z"]), "b": tune.uniform(0.0, 2.0), "n": tune.randint(0, 100)})
    config = {"a": "y", "b": 0.1, "n": 50}
    found = space.neighbours(config)
    assert sorted(other["a"] for other in found if other["a"] != "y") == ["x", "z"]
    assert [other["n"] for other in found if other["n"] != 50] == [40, 60]
    assert [other["b"] for other in found if other["b"] != 0.1] == pytest.approx([0.3])  # -0.1 is out
    for other in found:
        space.check(other)
        assert sum(other[name] != config[name] for name in config) == 1
    cells = read("nas_bench_201")
    assert len(cells.neighbours(cells.sample(stream(0)))) <= 24
