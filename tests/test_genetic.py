"""Genetic search and NSGA-II: who becomes a parent, who lives, what is asked when."""

import copy
import hashlib

import numpy as np
import pytest
from ray import tune

from raynas.objectives import Trial
from raynas.objectives.pareto import hypervolume
from raynas.rng import stream
from raynas.searchers import SEARCHERS
from raynas.searchers.genetic import SELECTIONS, Genetic
from raynas.searchers.nsga2 import NSGA2
from raynas.settings import construct
from raynas.space import read
from raynas.tables import InputError

GENOMES = read("genome_cnn")
LINE = read({"x": tune.uniform(0.0, 1.0), "y": tune.uniform(0.0, 1.0)})


def run(searcher, count, score=lambda config: config["x"], fate=lambda number: "done"):
    """Ask and tell one at a time; the trials."""
    trials = []
    for number in range(count):
        config = searcher.ask()
        trial = Trial(number, config, origin=dict(searcher.origin), state=fate(number))
        trial.fitness = score(config) if trial.state in ("done", "stopped") else None
        searcher.tell(trial)
        trials.append(trial)
    return trials


def number_of(genome):
    return int(hashlib.sha256(genome.encode()).hexdigest()[:8], 16)


# -- who becomes a parent ------------------------------------------------------------------------------------------


def alive(*fitness):
    return [Trial(number, {}, fitness=value) for number, value in enumerate(sorted(fitness, reverse=True))]


def picks(selection, trials, size, count=4000):
    rng = stream(1)
    found = [SELECTIONS[selection](trials, size, rng).number for _ in range(count)]
    return np.bincount(found, minlength=len(trials)) / count


def test_a_tournament_is_won_by_the_best_of_its_size():
    """Of 4, the k-th best wins a tournament of 2 with chance (4 - k) / 6, and the worst never."""
    assert picks("tournament", alive(0.1, 0.2, 0.3, 0.4), 2) == pytest.approx([3 / 6, 2 / 6, 1 / 6, 0], abs=0.03)
    assert picks("tournament", alive(0.1, 0.2, 0.3), 3)[0] == 1


@pytest.mark.parametrize("shift", [0.0, -10.0, 1e3])
def test_proportional_selection_is_of_fitness_above_the_worst(shift):
    trials = alive(*(shift + value for value in (0.0, 1.0, 2.0, 5.0)))
    assert picks("proportional", trials, 0) == pytest.approx([5 / 8, 2 / 8, 1 / 8, 0], abs=0.03)
    assert picks("proportional", alive(shift, shift), 0) == pytest.approx([0.5, 0.5], abs=0.03)


def test_only_the_top_are_parents_under_truncation():
    """And each of them as often."""
    searcher = Genetic(LINE, 4, population=10, selection="truncation", top=3, crossover=1.0)
    firsts = []
    for number in range(200):
        best = [trial.number for trial in searcher.alive[:3]]
        config = searcher.ask()
        parents = searcher.origin.get("parents", [])
        assert set(parents) <= set(best)
        assert len(set(parents)) == (2 if number >= 10 else 0)
        firsts += [best.index(parent) for parent in parents]
        searcher.tell(Trial(number, config, state="done", fitness=config["x"], origin=dict(searcher.origin)))
    assert np.bincount(firsts) / len(firsts) == pytest.approx([1 / 3] * 3, abs=0.08)


# -- generational --------------------------------------------------------------------------------------------------


def test_a_generation_waits_for_its_last_trial_and_the_waiting_changes_nothing():
    searcher = Genetic(GENOMES, 0, manner="generational", population=4)
    configs = [searcher.ask() for _ in range(4)]
    assert searcher.origin == {"operator": "random", "generation": 0}
    for number in range(4):
        before = copy.deepcopy(vars(searcher))
        assert searcher.ask() is None
        after = vars(searcher)
        assert {name: after[name] for name in after if name not in ("space", "pick")} == {
            name: before[name] for name in before if name not in ("space", "pick")
        }
        searcher.tell(Trial(number, configs[number], fitness=float(number), state="done", origin={"generation": 0}))
    assert searcher.ask() is not None
    assert searcher.origin["generation"] == 1


def test_parents_are_the_best_of_parents_and_children():
    searcher = Genetic(LINE, 3, manner="generational", population=5, selection="truncation", top=5)
    trials = run(searcher, 40)
    for generation in range(1, 8):
        before = [trial for trial in trials if trial.origin["generation"] < generation]
        best = {trial.number for trial in sorted(before, key=lambda trial: -trial.fitness)[:5]}
        children = [trial for trial in trials if trial.origin["generation"] == generation]
        assert len(children) == 5
        assert {parent for child in children for parent in child.origin["parents"]} <= best


def test_failed_trials_are_no_parents_but_fill_their_generation_and_refused_ones_do_not():
    fates = {1: "failed", 2: "refused", 5: "refused", 7: "failed", 8: "stopped"}
    searcher = Genetic(LINE, 1, manner="generational", population=4)
    trials = run(searcher, 24, fate=lambda number: fates.get(number, "done"))
    sizes = np.bincount([trial.origin["generation"] for trial in trials])
    assert sizes.tolist() == [5, 5, 4, 4, 4, 2]  # a refused one's place is filled again
    parents = {parent for trial in trials for parent in trial.origin.get("parents", [])}
    assert not parents & {1, 2, 5, 7}


def test_a_generation_of_failures_is_followed_by_random_ones():
    searcher = Genetic(LINE, 1, manner="generational", population=3)
    trials = run(searcher, 9, fate=lambda number: "failed" if number < 5 else "done")
    assert [trial.origin["operator"] for trial in trials[:6]] == ["random"] * 6
    assert [trial.origin["generation"] for trial in trials] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


# -- steady --------------------------------------------------------------------------------------------------------


def test_steady_search_never_waits_and_starts_with_its_population():
    searcher = Genetic(GENOMES, 0, population=6, tournament=2)
    asked = [(searcher.ask(), dict(searcher.origin)) for _ in range(20)]
    assert all(config is not None for config, _ in asked)
    assert all(origin["operator"] == "random" for _, origin in asked)  # nothing is told: there are no parents
    searcher = Genetic(GENOMES, 0, population=6, tournament=2)
    for number, trial in enumerate(run(searcher, 20, lambda config: number_of(config["architecture"]))):
        assert (trial.origin["operator"] == "random") is (number < 6)


def test_the_worst_dies():
    searcher = Genetic(LINE, 5, population=4, tournament=2)
    trials = run(searcher, 30)
    best = sorted(trials, key=lambda trial: (-trial.fitness, trial.number))[:4]
    assert [trial.number for trial in searcher.alive] == [trial.number for trial in best]


@pytest.mark.parametrize("manner", ["steady", "generational"])
def test_twins_fill_no_place(manner):
    """In a small space a random config comes twice: it takes no slot of a generation, nor of the living."""
    space = read({"a": tune.choice(list(range(8)))})
    searcher = Genetic(space, 0, manner=manner, population=6)
    answers, told = {}, []
    for number in range(40):
        if (config := searcher.ask()) is None:
            break
        trial = Trial(number, config, state="done", fitness=float(config["a"]), origin=dict(searcher.origin))
        trial.duplicate_of = answers.get(config["a"])
        answers.setdefault(config["a"], number)
        searcher.tell(trial)
        told.append(trial)
        assert len({item.config["a"] for item in searcher.alive}) == len(searcher.alive)
    assert len({trial.config["a"] for trial in told[:6]}) == 6


@pytest.mark.parametrize("manner", ["steady", "generational"])
def test_no_genome_is_asked_for_twice(manner):
    """Even where crossing two alike and not mutating would make a twin."""
    space = read({"architecture": {"genome": {"layers": [4, 4], "filters": [1, 4], "kernels": [1, 3]}}})
    searcher = Genetic(space, 2, manner=manner, population=8, crossover=0.5, mutation=0.0)
    trials = run(searcher, 120, lambda config: number_of(config["architecture"]))
    assert len({space.identity(trial.config) for trial in trials}) == 120


def test_a_space_that_is_used_up_does_not_hang():
    space = read({"a": tune.choice([1, 2])})
    assert len(run(Genetic(space, 0, population=2, tournament=2), 20, lambda config: config["a"])) == 20


def test_lineage_is_in_the_origin():
    searcher = Genetic(GENOMES, 0, population=5, tournament=2, crossover=0.5, mutation=0.5)
    trials = run(searcher, 60, lambda config: number_of(config["architecture"]))
    operators = set()
    for trial in trials[5:]:
        parents = [trials[number] for number in trial.origin["parents"]]
        operators.add(trial.origin["operator"])
        assert len(parents) == (2 if "crossover" in trial.origin["operator"] else 1)
        assert trial.origin["generation"] == 1 + max(parent.origin["generation"] for parent in parents)
        if trial.origin["operator"] == "mutation":
            assert trial.config != parents[0].config
    assert operators == {"mutation", "crossover", "crossover+mutation"}


def test_crossover_and_mutation_are_switched_by_their_chances():
    for crossover, mutation, expected in ((1.0, 1.0, "crossover+mutation"), (0.0, 1.0, "mutation")):
        searcher = Genetic(GENOMES, 0, population=4, tournament=2, crossover=crossover, mutation=mutation)
        trials = run(searcher, 30, lambda config: number_of(config["architecture"]))
        assert {trial.origin["operator"] for trial in trials[4:]} == {expected}


ERRORS = [
    ("genetic", {"population": 1}, "'population' must be right: input should be greater than or equal to 2, got 1"),
    ("genetic", {"population": 4, "tournament": 5}, "tournament (5) must not be larger than population (4)"),
    ("genetic", {"population": 4, "selection": "truncation", "top": 5}, "top (5) must not be larger than population"),
    ("genetic", {"crossover": 1.5}, "'crossover' must be right"),
    ("genetic", {"manner": "genrational"}, "'manner' must be right: input should be 'steady' or 'generational'"),
    ("genetic", {"selection": "roulette"}, "'selection' must be right"),
    ("genetic", {"tournment": 2}, "unknown key 'tournment'. Did you mean 'tournament'?"),
    ("nsga2", {"population": 0}, "'population' must be right"),
]


@pytest.mark.parametrize(("name", "options", "fragment"), ERRORS)
def test_bad_options_are_refused(name, options, fragment):
    with pytest.raises(InputError) as caught:
        construct(SEARCHERS[name], options, "search", LINE, 0)
    assert fragment in str(caught.value)


# -- NSGA-II -------------------------------------------------------------------------------------------------------


def two_goals(config):
    """A front along x + y = 1 for z = 0: the further z, the worse both goals."""
    return config["x"] - config["z"], (1 - config["x"]) - config["z"]


def front_of(searcher, count=120):
    for number in range(count):
        config = searcher.ask()
        scores = two_goals(config)
        searcher.tell(
            Trial(number, config, state="done", fitness=scores[0], scores=scores, origin=dict(searcher.origin))
        )
    return searcher


@pytest.mark.parametrize("manner", ["steady", "generational"])
def test_nsga2_covers_the_front_better_than_random(manner):
    space = read({"x": tune.uniform(0.0, 1.0), "z": tune.uniform(0.0, 1.0)})
    gained = []
    for seed in range(5):
        found = front_of(NSGA2(space, seed, manner=manner, population=12))
        drawn = [space.sample(stream(seed + 100, number)) for number in range(120)]
        mine = hypervolume(np.array([trial.scores for trial in found.alive]), (-1.0, -1.0))
        gained.append(mine - hypervolume(np.array([two_goals(config) for config in drawn]), (-1.0, -1.0)))
    assert sum(gain > 0 for gain in gained) >= 4, gained


def test_nsga2_keeps_the_front_and_the_spread():
    """Of equals in rank the more crowded dies: the ends of the front live."""
    searcher = NSGA2(LINE, 0, population=3)
    for number, scores in enumerate([(0.0, 1.0), (0.5, 0.5), (0.52, 0.48), (1.0, 0.0), (0.4, 0.4)]):
        searcher.ask()
        searcher.tell(Trial(number, {"x": 0.0, "y": 0.0}, fitness=scores[0], scores=scores, state="done"))
    assert {trial.number for trial in searcher.alive} == {0, 3, 1} or {t.number for t in searcher.alive} == {0, 3, 2}
    assert 4 not in {trial.number for trial in searcher.alive}  # dominated
