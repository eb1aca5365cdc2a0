"""How much of a space the limits leave, and whether there is anything at all."""

import pytest

from raynas.models import cost
from raynas.objectives import parse_limit
from raynas.rng import stream
from raynas.run import feasible
from raynas.run.feasible import SAMPLES, examine
from raynas.space import read
from raynas.space.genome import parse
from raynas.tables import InputError

GENOMES, SIMPLE = read("genome_cnn"), read("simple_cnn")


def params(config):
    """The closed form of a genome's parameters on one channel and ten classes."""
    channels, total = 1, 0
    *body, _ = parse(config["architecture"])
    for layer in body:
        total += channels * layer.filters * layer.kernel**2 + layer.filters
        channels = layer.filters
    return total + channels * 64 + 64 + 650


def count(config):
    return {"params": params(config), "flops": 0, "memory_mb": 0.0}


def real(config):
    return cost(config, (1, 28, 28), 10)


def test_the_share_is_that_of_random_networks():
    found = examine(GENOMES, count, (parse_limit("params <= 100_000"),))
    drawn = [GENOMES.sample(stream(9, number)) for number in range(4000)]
    truth = sum(params(config) <= 100_000 for config in drawn) / len(drawn)
    assert found.samples == SAMPLES
    assert abs(found.kept / found.samples - truth) < 0.1
    assert str(found).startswith(f"{found.kept / found.samples:.0%} (± ")


def test_the_closed_form_is_the_real_count():
    for number in range(3):
        config = GENOMES.sample(stream(1, number))
        assert real(config)["params"] == params(config)


def test_a_limit_that_only_the_smallest_network_meets_is_no_error():
    found = examine(GENOMES, count, (parse_limit("params <= 1104"),))  # the smallest legal genome: SEEDS A3
    assert found.kept == 0
    assert "none of 200 random networks" in str(found)


@pytest.mark.parametrize(
    ("space", "costs", "limit", "said"),
    [
        (GENOMES, count, "params < 1104", "no network of the space meets 'params < 1,104': the smallest params found is 1,104"),
        (GENOMES, count, "params > 1_614_154", "the largest params found is 1,614,154"),
        (SIMPLE, real, "params <= 1_000", "the smallest params found is 19,514"),
    ],
)  # fmt: skip
def test_a_limit_that_nothing_meets_is_said_with_the_best_that_there_is(space, costs, limit, said, monkeypatch):
    if costs is real:
        monkeypatch.setattr(feasible, "SAMPLES", 20)  # each is a network on the meta device
    with pytest.raises(InputError) as caught:
        examine(space, costs, (parse_limit(limit),))
    assert said in str(caught.value)


def test_latency_is_not_known_beforehand():
    assert examine(GENOMES, count, (parse_limit("latency_ms <= 1"),)) is None
    assert examine(GENOMES, count, ()) is None


def test_a_model_that_cannot_be_counted_is_refused():
    with pytest.raises(InputError, match="cannot be checked"):
        examine(GENOMES, lambda config: None, (parse_limit("params <= 1e6"),))


def test_decisions_of_many_values_and_poor_starts():
    sizes = [64, 96, 32, 128, 16, 80, 48, 112, 24, 56]
    space = read({f"w{number}": {"choice": sizes} for number in range(8)})

    def total(config):
        return {"params": sum(config.values())}

    assert examine(space, total, (parse_limit("params <= 128"),)).kept == 0
    with pytest.raises(InputError, match="the smallest params found is 128"):
        examine(space, total, (parse_limit("params < 128"),))


def test_limits_that_no_network_meets_together():
    with pytest.raises(InputError) as caught:
        examine(GENOMES, count, (parse_limit("params <= 20_000"), parse_limit("params >= 30_000")))
    wanted = "no network of the space meets 'params <= 20,000' and 'params >= 30,000'; the nearest found has"
    assert wanted in str(caught.value)
