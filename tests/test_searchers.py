"""Searchers: laws over the table, one golden trajectory each."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import tune

from raynas.objectives import Trial
from raynas.searchers import SEARCHERS
from raynas.searchers.bananas import Ensemble, stretched
from raynas.searchers.evolution import RegularizedEvolution
from raynas.searchers.grid import Grid
from raynas.searchers.local import LocalSearch
from raynas.searchers.optuna import Optuna
from raynas.searchers.reinforce import Reinforce
from raynas.settings import construct
from raynas.space import read
from raynas.tables import InputError

FINITE = read({"a": tune.choice([1, 2, 3]), "b": tune.randint(0, 4), "c": tune.uniform(0.0, 1.0)})
SPACES = {"genome": read("genome_cnn"), "simple": read("simple_cnn"), "finite": FINITE}
SMALL = {"population": 5, "tournament": 2}
VARIANTS = {name: (name, {}) for name in SEARCHERS} | {
    "regularized-evolution": ("regularized-evolution", SMALL),
    "genetic": ("genetic", SMALL),
    "genetic, generational": ("genetic", {"manner": "generational", "population": 12}),
    "genetic, proportional": ("genetic", {"population": 6, "selection": "proportional", "crossover": 1.0}),
    "genetic, truncation": ("genetic", {"population": 6, "selection": "truncation", "top": 2, "mutation": 0.0}),
    "nsga2": ("nsga2", {"population": 6}),
    "nsga2, generational": ("nsga2", {"manner": "generational", "population": 12}),
}
CASES = [
    (name, space)
    for name in VARIANTS
    for space in SPACES
    if (name, space) not in (("grid", "genome"),)
]  # fmt: skip


def rounded(config):
    """A config as text, its floats to 9 digits: the last ones are the machine's."""
    shown = {key: f"{item:.9g}" if isinstance(item, float) else item for key, item in config.items()}
    return json.dumps(shown, sort_keys=True)


def make(name, space, seed=0, **options):
    searcher, usual = VARIANTS[name]
    return construct(SEARCHERS[searcher], {**usual, **options}, "search", space, seed)


def value(config):
    """A deterministic fitness of any config."""
    text = rounded(config)
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def tell(searcher, number, config, origin, fate="done"):
    trial = Trial(number, config, origin=origin, state=fate, curve=[(1, value(config) / 2), (2, value(config))])
    trial.fitness = None if fate in ("failed", "refused") else value(config)
    trial.scores = (value(config), -value({"other": rounded(config)}))
    searcher.tell(trial)


def trajectory(searcher, count, start=0, fates=("done",), width=1):
    """The next `count` configs, told `width` at a time in reverse order."""
    found, open_ = [], []
    for number in range(start, start + count):
        config = searcher.ask()
        if config is None:
            break
        found.append(config)
        open_.append((number, config, dict(searcher.origin)))
        if len(open_) == width:
            for item in reversed(open_):
                tell(searcher, *item, fate=fates[item[0] % len(fates)])
            open_ = []
    return found


@pytest.mark.parametrize(("name", "space"), CASES)
def test_stays_in_the_space(name, space):
    for config in trajectory(make(name, SPACES[space]), 25):
        SPACES[space].check(config)


@pytest.mark.parametrize(("name", "space"), CASES)
def test_same_seed_same_trajectory_other_seed_another(name, space):
    one, same, other = (trajectory(make(name, SPACES[space], seed), 20) for seed in (3, 3, 4))
    assert one == same != other


@pytest.mark.parametrize(("name", "space"), CASES)
@pytest.mark.parametrize("width", [1, 3])
def test_rebuilt_by_replay_midway_goes_on_the_same(name, space, width):
    fates = ("done", "stopped", "failed", "done", "done", "done")
    first = make(name, SPACES[space])
    trajectory(first, 12, fates=fates, width=width)
    replayed = make(name, SPACES[space])
    trajectory(replayed, 12, fates=fates, width=width)
    assert trajectory(first, 12, 12, fates, width) == trajectory(replayed, 12, 12, fates, width)


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_survives_when_every_trial_fails(name):
    assert len(trajectory(make(name, FINITE), 20, fates=("failed",))) == 20


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_survives_when_every_other_trial_is_refused(name):
    assert len(trajectory(make(name, FINITE), 20, fates=("refused", "done"))) == 20


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_asks_before_anything_is_told(name):
    searcher = make(name, FINITE)
    assert all(FINITE.contains(searcher.ask()) for _ in range(10))


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_says_where_a_config_came_from(name):
    searcher = make(name, FINITE)
    for config in trajectory(searcher, 8):
        assert config
        assert searcher.origin["operator"]
        json.dumps(searcher.origin)


GOLDEN = {
    "random": "8ce443465c7fa9b7",
    "grid": "6626c79cd15a09c3",
    "regularized-evolution": "4fe3a535c609034b",
    "genetic": "d5d5985824ff6a9f",
    "genetic, generational": "3137f5253e22db98",
    "genetic, proportional": "86009f480115e1ff",
    "genetic, truncation": "704010567b5b78cb",
    "nsga2": "252ab617aeadfe4f",
    "nsga2, generational": "cde6f0a82c79b93b",
    "local-search": "dabb669c7abb4623",
    "reinforce": "20a88f51aea27a59",
    "enas": "29a25f8fc1cd79fc",
    "bananas": None,  # the last digits of matrix products are the machine's
    "optuna": None,  # another library's: its version decides
}


@pytest.mark.parametrize("name", [name for name, digest in GOLDEN.items() if digest])
def test_golden_trajectory(name):
    configs = trajectory(make(name, SPACES["simple" if name == "grid" else "genome"], 7), 30)
    digest = hashlib.sha256("\n".join(map(rounded, configs)).encode()).hexdigest()[:16]
    assert digest == GOLDEN[name]


def test_evolution_is_algorithm_1():
    """Children come from the best of a sample of the living; the oldest dies."""
    searcher = make("regularized-evolution", SPACES["genome"], population=4, tournament=3)
    alive, configs = [], {}
    for number in range(30):
        config = searcher.ask()
        if number >= 4:
            parent = searcher.origin["parents"][0]
            assert parent in alive
            assert config != configs[parent]
        else:
            assert searcher.origin == {"operator": "random", "generation": 0}
        configs[number] = config
        tell(searcher, number, config, searcher.origin)
        alive = [*alive, number][-4:]


def test_evolution_with_a_full_tournament_always_picks_the_best():
    space = read({"x": tune.uniform(0.0, 1.0)})
    searcher = RegularizedEvolution(space, 0, population=3, tournament=3)
    for number, fitness in enumerate([0.1, 0.9, 0.5]):
        searcher.tell(Trial(number, {"x": fitness}, state="done", fitness=fitness))
    picks = []
    for _ in range(60):
        searcher.ask()
        picks.append(searcher.origin["parents"][0])
    counts = np.bincount(picks, minlength=3) / 60  # a sample of 3 with replacement misses the best with (2/3)^3
    assert counts[1] > 0.55
    assert counts[1] > counts[2] > counts[0]


def test_evolution_improves_on_random():
    space = read({f"x{index}": tune.uniform(0.0, 1.0) for index in range(5)})

    def best(name, seed, options):
        searcher, top = make(name, space, seed, **options), -9.0
        for number in range(150):
            config = searcher.ask()
            fitness = -sum((x - 0.5) ** 2 for x in config.values())
            top = max(top, fitness)
            searcher.tell(
                Trial(number, config, state="done", fitness=fitness, origin=searcher.origin, curve=[(1, fitness)])
            )
        return top

    drawn = [best("random", seed + 50, {}) for seed in range(6)]
    wins = {
        name: sum(best(name, seed, {}) > drawn[seed] for seed in range(6))
        for name in (
            "regularized-evolution",
            "genetic",
            "genetic, generational",
            "local-search",
            "reinforce",
            "bananas",
            "optuna",
        )
    }
    assert min(wins.values()) >= 5, wins


def test_the_ensemble_learns_and_knows_where_it_does_not():
    rng = np.random.default_rng(0)
    points = rng.random((60, 4))
    targets = 3.0 + points @ np.array([2.0, -1.0, 0.5, 0.0])
    ensemble = Ensemble.fitted(points[:40], targets[:40], 5, rng)
    mean, deviation = ensemble.predict(points[40:])
    assert np.corrcoef(mean, targets[40:])[0, 1] > 0.95
    assert abs(mean - targets[40:]).mean() < 0.2
    _, far = ensemble.predict(10 * points[40:])
    assert far.mean() > 3 * deviation.mean()


def test_local_search_looks_at_every_neighbour_and_then_begins_anew():
    space = read({f"x{number}": tune.choice([0, 1, 2]) for number in range(3)})
    searcher, asked = LocalSearch(space, 0), []
    for number in range(30):
        config = searcher.ask()
        asked.append((config, dict(searcher.origin)))
        searcher.tell(Trial(number, config, state="done", fitness=float(sum(config.values())), origin=searcher.origin))
        if sum(config.values()) == 6:
            break
    start = asked[0][0]
    ring = [config for config, origin in asked[1:7] if origin == {"operator": "neighbour", "parents": [0]}]
    assert len(ring) == len({tuple(config.values()) for config in ring}) == 6  # two other values of three
    assert all(sum(config[name] != start[name] for name in start) == 1 for config in ring)
    assert sum(asked[-1][0].values()) == 6  # the top of a hill without traps
    climbed = [origin["parents"][0] for _, origin in asked[1:]]
    assert climbed == sorted(climbed)
    for number in range(len(asked), len(asked) + 7):  # no neighbour of the top is better
        config = searcher.ask()
        origin = dict(searcher.origin)
        searcher.tell(Trial(number, config, state="done", fitness=float(sum(config.values())), origin=origin))
    assert searcher.centre is None or searcher.centre.number >= len(asked)


def test_reinforce_follows_the_gradient_of_its_policy():
    space = read({"a": tune.choice(["x", "y", "z"])})
    searcher = Reinforce(space, 0, lr=0.1)
    for number in range(200):
        config = searcher.ask()
        fitness = {"x": 0.1, "y": 0.9, "z": 0.5}[config["a"]]
        searcher.tell(Trial(number, config, state="done", fitness=fitness, origin=searcher.origin))
    policy = searcher.policy(0)
    assert policy[1] > 0.9
    assert policy.sum() == pytest.approx(1.0)
    untold = Reinforce(space, 0)
    assert untold.policy(0) == pytest.approx([1 / 3] * 3, abs=1e-3)
    untold.tell(Trial(0, {"a": "x"}, state="failed", origin={}))
    assert untold.policy(0) == pytest.approx([1 / 3] * 3, abs=1e-3)  # nothing to compare a failure with


def test_a_grid_is_every_combination_once():
    grid = Grid(FINITE, 0, points=2)
    configs = trajectory(grid, 1000)
    assert len(configs) == grid.size == 3 * 4 * 2
    assert len({json.dumps(config, sort_keys=True) for config in configs}) == grid.size
    assert grid.ask() is None
    assert {config["c"] for config in configs} == {0.25, 0.75}


def test_a_grid_can_thin_ranges_of_whole_numbers():
    """At most `integers` values of a range, evenly spread; choices and short ranges keep all."""
    space = read(
        {"n": tune.randint(16, 513), "few": tune.randint(1, 6), "one": tune.choice(["a", "b", "c", "d", "e", "f"])}
    )
    grid = Grid(space, 0, integers=5)
    assert grid.axes["n"] == [65, 165, 264, 363, 463]
    assert grid.axes["few"] == [1, 2, 3, 4, 5]
    assert len(grid.axes["one"]) == 6
    assert Grid(space, 0).size == 497 * 5 * 6
    logarithmic = Grid(read({"n": tune.lograndint(1, 1000)}), 0, integers=50).axes["n"]
    assert len(set(logarithmic)) == len(logarithmic) < 50


def test_a_grid_that_is_too_large_is_refused():
    with pytest.raises(InputError, match="too large"):
        Grid(read({"a": tune.randint(0, 2000), "b": tune.randint(0, 2000)}), 0)


@pytest.mark.parametrize(
    "sampler", ["TPE", "Random", "CmaEs", "NSGAII", "NSGAIII", "QMC", "GP", "BruteForce", "TPESampler"]
)
def test_every_optuna_sampler_by_name(sampler):
    space = read({"a": tune.choice(["x", "y"]), "b": tune.uniform(0.0, 1.0), "n": tune.randint(1, 9)})
    if sampler == "BruteForce":
        space = read({"a": tune.choice(["x", "y"]), "n": tune.randint(1, 9)})
    assert len(trajectory(make("optuna", space, sampler=sampler), 11, fates=("done", "stopped", "failed"))) == 11


def test_optuna_hears_pruned_and_failed_trials_as_such():
    searcher = make("optuna", FINITE)
    trajectory(searcher, 6, fates=("done", "stopped", "failed"))
    states = [trial.state.name for trial in searcher.study.trials]
    assert states == ["COMPLETE", "PRUNED", "FAIL"] * 2
    pruned = searcher.study.trials[1]
    assert list(pruned.intermediate_values) == [1, 2]


def test_optuna_takes_what_is_on_record():
    """Replayed under another version it asks for other configs: those on record count."""
    searcher = Optuna(FINITE, 0)
    searcher.ask()
    recorded = {"a": 3, "b": 3, "c": 0.123}
    searcher.tell(Trial(0, recorded, state="done", fitness=0.7, origin=searcher.origin, curve=[(1, 0.7)]))
    assert searcher.study.best_trial.params == recorded
    assert searcher.study.best_value == 0.7


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_stretching_keeps_the_order_and_is_finite(values):
    found = stretched(values)
    assert np.isfinite(found).all()
    order = np.argsort(values, kind="stable")
    assert (np.diff(found[order]) >= 0).all()


def test_stretching_tells_the_best_apart():
    """Fitness behind the best by 0, 1, 2, 3 and 100 medians of that: the best two are further apart than the next two."""
    found = stretched([10.0, 9.0, 8.0, 7.0, -90.0])
    assert found == pytest.approx([-np.log(behind / 2 + 0.05) for behind in (0, 1, 2, 3, 100)])
    gaps = -np.diff(found)
    assert gaps[0] > gaps[1] > gaps[2]
