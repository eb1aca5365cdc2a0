"""Zero-cost proxies against closed forms and published values, and the warm-up that measures before it believes."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ray import tune
from torch import nn

import raynas
from raynas.models.proxies import PROXIES, RIDGE, jacov, naswot, proxy, synflow
from raynas.objectives import Trial
from raynas.run.experiment import Experiment
from raynas.run.plan import make_plan
from raynas.searchers import SEARCHERS, Warmed, WarmUp
from raynas.searchers.warm_up import spearman
from raynas.settings import check, construct
from raynas.space import read
from raynas.tables import InputError

REAL = Path(os.environ.get("RAYNAS_DATA", Path(__file__).parents[2] / "shared" / "data"))


# -- proxies -------------------------------------------------------------------------------------------------------


def test_synflow_of_linear_layers_is_their_number_times_the_flow():
    """Every layer without bias holds the whole flow: sum |w dR/dw| = R, so L layers have L R."""
    torch.manual_seed(0)
    first, second, third = (nn.Linear(8 * 8, 5, bias=False), nn.Linear(5, 4, bias=False), nn.Linear(4, 3, bias=False))
    flow = (third.weight.abs() @ second.weight.abs() @ first.weight.abs() @ torch.ones(64)).sum().item()
    network = nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.BatchNorm1d(5), second, nn.Sigmoid(), third)
    assert synflow(network, torch.zeros(2, 1, 8, 8)) == pytest.approx(math.log(3 * flow), abs=1e-5)


def test_synflow_of_a_cut_network_is_the_least():
    cell = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    assert (
        proxy("synflow", {"model": "nas_bench_201", "architecture": cell}, torch.zeros(2, 3, 32, 32), 10, 0)
        == -math.inf
    )


def test_naswot_counts_agreements():
    """Two images, three units: on/on, on/off and off/off agree in 2 of 3, so K = [[3, 2], [2, 3]], det 5."""
    linear = nn.Linear(64, 3)
    nn.init.zeros_(linear.weight)
    with torch.no_grad():
        linear.weight[1, 0] = 1.0
        linear.bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
    images = torch.zeros(2, 1, 8, 8)
    images[0, 0, 0, 0] = 1.0
    network = nn.Sequential(nn.Flatten(), linear, nn.ReLU(), nn.Linear(3, 2))
    assert naswot(network, images) == pytest.approx(math.log(5))
    with pytest.raises(InputError, match="naswot looks at activation modules"):
        naswot(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), images)


@pytest.mark.parametrize("count", [2, 7])
def test_jacov_of_a_linear_network_is_the_least_there_is(count):
    """All Jacobians are one: the correlation matrix is all ones, its eigenvalues are N and N - 1 zeros."""
    expected = -(math.log(count + RIDGE) + 1 / (count + RIDGE) + (count - 1) * (math.log(RIDGE) + 1 / RIDGE))
    found = jacov(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), torch.randn(count, 1, 8, 8))
    assert found == pytest.approx(expected, rel=1e-6)


CONFIGS = [
    {"model": "genome", "architecture": "NC 8 3 tanh;RC 8 3 sigmoid;RC 6 1 gelu;FL swish"},
    {"model": "simple_cnn", "conv_layers": 2, "hidden": 20, "dropout": 0.5},
    {"model": "nas_bench_201", "architecture": "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|"},
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=[config["model"] for config in CONFIGS])
@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_is_a_function_of_config_and_seed(config, name):
    images = torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    state = torch.random.get_rng_state()
    values = [proxy(name, config, images, 10, seed) for seed in (0, 0, 1)]
    assert all(math.isfinite(value) for value in values)
    assert values[0] == values[1]
    assert (values[0] != values[2]) == (PROXIES[name] is not None)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert images.grad is None


@pytest.mark.parametrize(("name", "cells"), [("synflow", 40), ("naswot", 15)])
def test_ranks_agree_with_the_published_ones(name, cells):
    for file in ("nasbench201.npz", "nasbench201_zero_cost.npz", "cifar10_sub10k.npz"):
        if not (REAL / file).is_file():
            pytest.skip(f"no '{file}' in '{REAL}': set RAYNAS_DATA")
    with np.load(REAL / "nasbench201.npz") as table, np.load(REAL / "nasbench201_zero_cost.npz") as known:
        rows = np.random.default_rng(0).choice(len(table["arch_str"]), cells, replace=False)
        archs, published = [table["arch_str"][row].decode() for row in rows], known[f"cifar10_{name}"][rows]
    with np.load(REAL / "cifar10_sub10k.npz") as file:
        pixels = torch.as_tensor(file["train_images"][:64], dtype=torch.float32).permute(0, 3, 1, 2)
    images = (pixels - pixels.mean((0, 2, 3), keepdim=True)) / pixels.std((0, 2, 3), keepdim=True)
    ours = [proxy(name, {"model": "nas_bench_201", "architecture": arch}, images, 10, 0) for arch in archs]
    assert spearman(ours, list(published)) > 0.9


# -- rank correlation ----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-5, 5), min_size=4, max_size=30), st.integers(0, 1000))
def test_spearman_is_that_of_pandas(values, seed):
    import pandas as pd

    other = np.random.default_rng(seed).integers(0, 5, len(values)).tolist()
    expected = pd.Series(values).rank().corr(pd.Series(other).rank())
    assert spearman(values, other) == pytest.approx(0.0 if math.isnan(expected) else expected, abs=1e-9)
    assert spearman(values, values) == (1.0 if len(set(values)) > 1 else 0.0) or len(set(values)) > 1


def test_spearman_of_too_few_says_nothing():
    assert spearman([1, 2, 3], [1, 2, 3]) == 0.0


# -- the warm-up ---------------------------------------------------------------------------------------------------

SPACE = {"x": tune.uniform(0.0, 1.0), "n": tune.randint(0, 1000)}
SETTINGS = WarmUp(proxy="synflow", candidates=30, check=6, trials=5)


def warmed(search="random", proxy=lambda config: config["x"], params=lambda config: float(config["n"]), seed=0):
    space = read(SPACE)
    options = {"population": 4} if search in ("genetic", "nsga2") else {}
    options |= {"population": 4, "tournament": 2} if search == "regularized-evolution" else {}
    inner = construct(SEARCHERS[search], options, "search", space, seed)
    return Warmed(inner, space, seed, SETTINGS, proxy, params), space


def run(searcher, space, count, fitness, waiting=1):
    """Ask `count` times with `waiting` trials out."""
    trials, out = [], []
    while len(trials) < count or out:
        while len(out) < waiting and len(trials) < count:
            if (config := searcher.ask()) is None:
                break
            trials.append(Trial(len(trials), config, space.identity(config), origin=dict(searcher.origin)))
            out.append(trials[-1])
        trial = out.pop(0)
        trial.state, trial.fitness = "done", fitness(trial.config)
        trial.scores, trial.curve = (trial.fitness, -trial.config["n"]), [(1, trial.fitness)]
        searcher.tell(trial)
    return trials


@pytest.mark.parametrize("search", [name for name in SEARCHERS if name != "grid"])
def test_every_searcher_goes_on_from_a_warm_up(search):
    """The check is spread over the ranking, then the best come, then the searcher, which was told of all."""
    searcher, space = warmed(search)
    trials = run(searcher, space, 40, lambda config: config["x"])
    operators = [trial.origin["operator"] for trial in trials]
    assert operators[:11] == ["warm-up"] * 11
    assert "warm-up" not in operators[11:]
    ranks = [trial.origin["rank"] for trial in trials[:11]]
    assert ranks[:6] == [0, 5, 11, 17, 23, 29]
    assert ranks[6:] == [1, 2, 3, 4, 6]
    scores = [trial.config["x"] for trial in trials[6:11]]
    assert scores == sorted(scores, reverse=True)
    verdict = trials[6].origin["warm_up"]
    assert verdict["kept"]
    assert verdict["spearman"] == 1.0
    assert verdict["trials"] == 6
    assert sum("warm_up" in trial.origin for trial in trials) == 1
    assert searcher.news == [
        "warm-up: over 6 trials the rank correlation of synflow with fitness is 1.00, of the parameter count "
        f"{verdict['spearman_params']:.2f}: the best 5 of the candidates are next"
    ]
    if search in ("genetic", "regularized-evolution", "bananas", "optuna"):
        assert np.mean([trial.config["x"] for trial in trials[20:]]) > 0.6  # it learned from what it never asked for


@pytest.mark.parametrize(
    ("name", "fitness", "kept"),
    [
        ("good", lambda config: config["x"], True),
        ("useless", lambda config: config["n"] % 7, False),
        ("wrong", lambda config: -config["x"], False),
        ("no better than the parameter count", lambda config: config["n"], False),
        ("constant fitness", lambda config: 1.0, False),
    ],
)
def test_the_proxy_must_beat_the_parameter_count(name, fitness, kept):
    searcher, space = warmed()
    trials = run(searcher, space, 14, fitness)
    assert trials[6].origin["warm_up"]["kept"] == kept
    assert (trials[6].origin["operator"] == "warm-up") == kept
    assert ("synflow is dropped" in searcher.news[0]) == (not kept)


def test_no_worker_waits_for_the_verdict():
    searcher, space = warmed()
    trials = run(searcher, space, 30, lambda config: config["x"], waiting=9)
    operators = [trial.origin["operator"] for trial in trials]
    assert operators[:9] == ["warm-up"] * 6 + ["random"] * 3
    assert operators.count("warm-up") == 11


def test_a_told_sequence_gives_the_same_asks():
    first, space = warmed("genetic")
    trials = run(first, space, 30, lambda config: config["x"], waiting=3)
    second, _ = warmed("genetic")
    asked = 0
    for trial in trials:  # replayed in the order of the asks, three out
        while asked < min(trial.number + 3, 30):
            assert second.ask() == trials[asked].config
            asked += 1
        second.tell(trial)


def test_what_limits_refuse_is_no_candidate():
    searcher, space = warmed(proxy=lambda config: config["x"] if config["n"] < 500 else None)
    trials = run(searcher, space, 11, lambda config: config["x"])
    assert all(trial.config["n"] < 500 for trial in trials)


def test_networks_without_a_score_come_last():
    searcher, space = warmed(proxy=lambda config: float("nan") if config["n"] < 500 else config["x"])
    trials = run(searcher, space, 6, lambda config: config["x"])
    scores = [trial.origin["proxy"] for trial in trials]
    assert scores[-1] is None
    assert scores[0] == max(score for score in scores if score is not None)
    json.dumps(scores, allow_nan=False)


def test_failed_trials_do_not_speak_for_a_proxy():
    searcher, space = warmed()
    for number in range(6):
        config = searcher.ask()
        trial = Trial(number, config, space.identity(config), origin=dict(searcher.origin))
        trial.state, trial.fitness = ("failed", None) if number % 2 else ("done", config["x"])
        searcher.tell(trial)
    searcher.ask()
    assert searcher.origin["warm_up"]["trials"] == 3
    assert not searcher.origin["warm_up"]["kept"]


# -- in a search ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_search_warms_up_on_real_networks(tmp_path, ray_here, capsys):
    given = {"data": "fashion_mnist_mini", "home": tmp_path, "name": "warm", "training": {"epochs": 1}, "limits": ["params <= 100_000"]}  # fmt: skip
    search = {"name": "regularized-evolution", "population": 4, "tournament": 2, "warm_up": {"proxy": "synflow", "candidates": 8, "check": 4, "trials": 2}}  # fmt: skip
    results = raynas.search("simple_cnn", search=search, trials=6, **given)
    assert "warm-up: over 4 trials the rank correlation of synflow with fitness is" in capsys.readouterr().out
    origins = [json.loads(origin) for origin in results.trials["origin"]]
    assert [origin["operator"] for origin in origins[:4]] == ["warm-up"] * 4
    done = results.trials[results.trials["state"] == "done"]
    assert len(done) == 6
    assert (done["params"] <= 100_000).all()
    scores = [origin["proxy"] for origin in origins[:4]]
    assert scores == sorted(scores, reverse=True)
    longer = raynas.resume("warm", home=tmp_path, trials=7, progress=False)
    assert (longer.trials["state"] == "done").sum() == 7
    assert longer.trials["number"][: len(origins)].tolist() == results.trials["number"].tolist()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"search": {"name": "random", "warm_up": "synflw"}}, "Did you mean 'synflow'"),
        ({"search": {"name": "random", "warm_up": {"candidate": 5}}}, "unknown key 'candidate'. Did you mean 'candidates'"),
        ({"space": {"model": "test_warm_up:plain"}, "search": {"name": "random", "warm_up": "naswot"}}, "naswot looks at activation modules"),
        ({"search": {"name": "random", "warm_up": 5}}, "warm_up is the name of a proxy"),
        ({"search": {"name": "random", "warm_up": {"check": 2}}}, "'check' must be right"),
        ({"search": {"name": "ray.tune.search.optuna:OptunaSearch", "warm_up": "naswot"}}, "raynas's own searchers"),
        ({"data": None, "space": SPACE, "trainable": "test_warm_up:train", "search": {"name": "random", "warm_up": "params"}}, "here it builds none"),
    ],
)  # fmt: skip
def test_wrong_warm_ups_are_refused_at_the_door(changes, said):
    spec = {"space": "genome_cnn", "data": "fashion_mnist_mini", **changes}
    with pytest.raises(InputError) as caught:
        make_plan(check(Experiment, spec, "experiment"))
    assert said in str(caught.value)


def plain(config, input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), classes))


def train(config):
    yield {"score": 1.0}
