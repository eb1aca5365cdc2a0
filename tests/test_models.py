"""Networks: published sizes, every shape, one gradient step, and what they cost."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from raynas.models import MODELS, build, cost, model, parameters, same_network
from raynas.models.ops import ACTIVATIONS
from raynas.models.simple_cnn import effective_depth
from raynas.rng import stream
from raynas.run.plan import check_parameters
from raynas.space import genome, read
from raynas.tables import InputError
from raynas.train.recipe import Recipe

FASHION, OCT = (1, 28, 28), (1, 28, 28)
SHAPES = [(1, 28, 28), (3, 32, 32), (1, 8, 8), (3, 8, 11), (3, 11, 8), (3, 64, 64), (1, 9, 9)]


def a_genome(text, **more):
    return {"model": "genome", "architecture": text, **more}


def a_cell(cell, **more):
    return {"model": "nas_bench_201", "architecture": cell, **more}


def a_pair(normal, reduction, **more):
    return {"model": "enas_micro", "normal": normal, "reduction": reduction, **more}


def a_macro(integers, **more):
    return {"model": "enas_macro", "architecture": integers, **more}


def a_simple_cnn(conv_layers, hidden, dropout):
    return {"model": "simple_cnn", "conv_layers": conv_layers, "hidden": hidden, "dropout": dropout}


# -- published sizes ------------------------------------------------------------------------------------------------

# CSL7540 report, Tables VIII, X and XII: genome and "Trainable Parameters". The first row of Table X prints the genome
# of Table VIII's first row with another count; that genome is not in the report.
REPORT = {
    "NC 48 5 swish;NC 5 5 gelu;RC 22 7 gelu;RC 39 3 tanh;FL swish;": 23636,
    "NC 33 3 swish;NC 14 5 tanh;NC 14 3 tanh;NC 28 3 gelu;NC 24 5 relu;RC 63 3 tanh;RC 34 3 gelu;FL gelu;": 69925,
    "NC 24 5 gelu;NC 21 7 tanh;NC 43 3 tanh;RC 14 7 relu;NC 44 3 gelu;RC 41 5 relu;NC 9 3 relu;NC 12 1 sigmoid;"
    "NC 25 1 tanh;FL swish;": 119841,
    "NC 25 5 relu;NC 30 1 tanh;NC 15 3 relu;NC 25 5 swish;RC 21 7 tanh;RC 26 7 tanh;FL sigmoid;": 69799,
    "NC 14 5 gelu;NC 6 5 gelu;RC 5 7 relu;RC 15 7 gelu;NC 9 7 sigmoid;FL gelu;": 15549,
    "NC 7 7 gelu;NC 47 7 swish;RC 46 1 tanh;RC 7 7 tanh;FL gelu;": 35673,
    "NC 46 3 tanh;RC 51 1 relu;RC 47 3 tanh;NC 6 5 gelu;NC 8 1 sigmoid;FL gelu;": 32815,
    "NC 5 3 relu;RC 17 5 tanh;NC 6 7 swish;NC 7 1 swish;NC 6 1 relu;RC 25 5 tanh;FL gelu;": 13382,
}
SIBLINGS = {  # from other groups of the same course
    "NC 256 5 tanh;RC 64 5 relu;NC 256 5 tanh;NC 4 3 tanh;RC 16 3 tanh;FL relu;": 837726,
    "NC 8 3 relu;RC 16 3 relu;NC 16 3 relu;RC 16 3 relu;FL relu;": 7626,
}
ENDS = {
    "NC 5 1 relu;RC 5 1 relu;RC 5 1 relu;FL relu": 1104,
    "NC 64 7 gelu;" + "RC 64 7 gelu;" * 2 + "NC 64 7 gelu;" * 6 + "FL gelu": 1614154,
}
SIMPLE = {  # OCTMNIST: blocks, hidden units, dropout
    (2, 219, 0.2): 185867,
    (2, 261, 0.2): 219677,
    (2, 34, 0.0): 36942,
    (3, 272, 0.5): 28884,
    (4, 435, 0.8): 34915,
    (2, 475, 0.8): 391947,
}
PUBLISHED = [(a_genome(text), FASHION, 10, params) for text, params in (REPORT | SIBLINGS | ENDS).items()]
PUBLISHED += [(a_simple_cnn(*genes), OCT, 4, params) for genes, params in SIMPLE.items()]


@pytest.mark.parametrize(("config", "shape", "classes", "params"), PUBLISHED)
def test_networks_have_the_published_number_of_parameters(config, shape, classes, params):
    assert cost(config, shape, classes)["params"] == params
    network = build(config, shape, classes)
    assert parameters(network) == params
    assert sum(weight.numel() for weight in network.state_dict().values()) == params


@pytest.mark.parametrize("text", [*REPORT, *ENDS])
def test_the_reports_genomes_are_of_the_space(text):
    assert read("genome_cnn").contains({**a_genome(text), "lr": 1e-3})


def test_the_ends_of_the_space_are_its_ends():
    sizes = []
    for n in range(25):
        config = read("genome_cnn").sample(stream(0, n))
        sizes.append(cost(config, FASHION, 10)["params"])
    assert 1104 < min(sizes) < max(sizes) < 1614154


SIDES = {
    "NC 256 5 tanh;RC 64 5 relu;NC 256 5 tanh;NC 4 3 tanh;RC 16 3 tanh;FL relu": [28, 12, 12, 12, 5],
    "NC 5 7 relu;RC 5 7 relu;RC 5 7 relu;FL relu": [28, 11, 3],
    "NC 5 1 relu;RC 5 1 relu;RC 5 1 relu;FL relu": [28, 14, 7],
    "NC 5 2 relu;NC 5 4 relu;NC 5 6 relu;RC 5 2 relu;RC 5 4 relu;FL relu": [28, 28, 28, 14, 6],
}


@pytest.mark.parametrize("text", SIDES)
def test_normal_layers_keep_the_side_and_reductions_halve_it_unpadded(text):
    assert conv_sides(a_genome(text), FASHION) == SIDES[text]
    assert build(a_genome(text), FASHION, 10).notes == ()


def conv_sides(config, shape):
    network, sides = build(config, shape, 10), []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, given, out: sides.append(out.shape[-1]))
    network(torch.zeros(1, *shape))
    return sides


@pytest.mark.parametrize("kernel", range(1, 9))
def test_any_kernel_keeps_the_side_and_pads_as_keras_does(kernel):
    network = build(a_genome(f"NC 2 {kernel} relu;FL relu"), (1, 9, 12), 3)
    image = torch.rand(1, 1, 9, 12, generator=torch.Generator().manual_seed(0))
    (conv,) = [module for module in network.features if isinstance(module, nn.Conv2d)]
    before, after = (kernel - 1) // 2, kernel // 2  # 'same': the odd pixel at the bottom and right
    padded = functional.pad(image, (before, after, before, after))
    found = network.features(image)
    assert found.shape == (1, 2, 9, 12)
    assert torch.allclose(found, functional.relu(functional.conv2d(padded, conv.weight, conv.bias)), atol=1e-6)


# -- every model, every shape ---------------------------------------------------------------------------------------

CONFIGS = {
    "smooth": a_genome("NC 5 3 tanh;NC 6 5 swish;RC 7 3 gelu;NC 5 1 sigmoid;RC 8 5 tanh;FL swish"),
    "wide_kernels": a_genome("NC 5 7 gelu;RC 6 7 gelu;RC 5 7 tanh;NC 5 7 gelu;FL gelu"),
    "even_kernels": a_genome("NC 5 2 gelu;RC 6 4 gelu;RC 5 6 tanh;FL tanh"),
    "small": a_genome("NC 5 1 gelu;RC 5 1 gelu;RC 5 1 gelu;FL tanh"),
    "many_reductions": a_genome("NC 5 3 gelu;" + "RC 5 3 tanh;" * 5 + "RC 5 2 tanh;FL tanh"),
    "relu": a_genome("NC 5 3 relu;RC 6 3 relu;RC 7 3 relu;FL relu"),
    "activated": a_genome("NC 5 3 gelu;RC 6 3 gelu;RC 7 3 gelu;FL sigmoid", activated_logits=True),
    "cell": a_cell("|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|", cells=1),
    "chain": a_cell("|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|nor_conv_3x3~2|", channels=4, cells=2),
    "micro": a_pair("0 1 1 3 0 4 1 2", "1 0 0 1 2 2 1 4", layers=2, channels=4),
    "micro_loose": a_pair("0 1 0 3 2 4 0 2", "1 0 1 1 2 2 1 4", layers=2, channels=4),  # inputs that no node uses
    "micro_shared": a_pair("0 1 1 3 2 4 1 2", "1 0 1 1 2 2 2 4", layers=1, channels=4, form="shared"),
    "macro": a_macro("0 1 1 2 0 1", channels=4),
    "macro_shared": a_macro("3 0 1 4 0 1 5 1 1 1", channels=4, form="shared"),
} | {f"simple_cnn_{n}": a_simple_cnn(n, 16, 0.2 * (n > 2)) for n in range(1, 6)}
# where a unit may be off for every image of a batch, or a scale is undone by the next normalisation
DEAD_UNITS = ("relu", "simple_cnn", "cell", "chain", "micro", "macro")


def a_step(network, images, labels):
    """One step of gradient descent; which tensors changed, and whether all gradients were finite."""
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    loss = functional.cross_entropy(network(images), labels)
    loss.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())
    with torch.no_grad():
        for weight in network.parameters():
            weight -= 0.1 * weight.grad
    changed = {name for name, weight in network.named_parameters() if not torch.equal(weight, before[name])}
    return loss, changed, set(before)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_every_model_builds_for_every_shape_and_learns(name, shape):
    torch.manual_seed(0)
    network = build(CONFIGS[name], shape, 7)
    images, labels = torch.rand(6, *shape), torch.arange(6)
    out = network(images)
    assert out.shape == (6, 7)
    assert out.isfinite().all()
    assert len(network(images[:1])) == 1
    assert cost(CONFIGS[name], shape, 7)["params"] == parameters(network)
    loss, changed, every = a_step(network, images, labels)
    assert loss.isfinite()
    assert changed == every or name.startswith(DEAD_UNITS)
    assert changed


@pytest.mark.parametrize("name", ["genome_cnn", "nas_bench_201", "simple_cnn", "enas_micro", "enas_macro"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 8, 8)], ids=str)
def test_whatever_is_drawn_from_a_space_can_be_built(name, shape):
    few = {"nas_bench_201": {"cells": 1}, "enas_micro": {"layers": 3}}.get(name, {})  # depth takes time, even on meta
    for n in range(2 if name == "enas_macro" else 6 if few else 15):
        config = {**read(name).sample(stream(0, n)), **few}
        with torch.device("meta"):
            assert build(config, shape, 4)(torch.empty(2, *shape)).shape == (2, 4)


def test_every_model_has_a_space_and_every_network_is_tested():
    assert {config["model"] for config in CONFIGS.values()} == set(MODELS)


# -- the genome network --------------------------------------------------------------------------------------------

NOTES = [
    ("NC 5 7 relu;RC 5 7 relu;RC 5 7 relu;FL relu", (1, 28, 28), ()),
    ("NC 5 7 relu;RC 5 7 relu;RC 5 1 relu;FL relu", (1, 8, 8), ()),
    ("NC 5 7 relu;RC 5 7 relu;RC 5 7 relu;FL relu", (1, 8, 8), ("layer 3: padded, a 7x7 kernel on 1x1",)),
    ("NC 5 7 relu;RC 5 3 relu;RC 5 5 relu;FL relu", (1, 8, 11), ("layer 3: padded, a 5x5 kernel on 3x5",)),
    ("NC 5 7 relu;RC 5 3 relu;RC 5 5 relu;FL relu", (1, 11, 8), ("layer 3: padded, a 5x5 kernel on 5x3",)),
    ("NC 5 7 relu;RC 5 3 relu;RC 5 3 relu;FL relu", (1, 8, 8), ()),
    (
        "RC 5 9 relu;NC 5 9 relu;RC 5 2 relu;RC 5 2 relu;RC 5 2 relu;FL relu",
        (1, 8, 8),
        ("layer 1: padded, a 9x9 kernel on 8x8", "layer 5: padded, a 2x2 kernel on 1x1"),
    ),
]


@pytest.mark.parametrize(("text", "shape", "notes"), NOTES)
def test_padding_is_noted_where_it_was_needed_and_only_there(text, shape, notes):
    network = build(a_genome(text), shape, 10)
    assert network.notes == notes
    padded = [note.partition(":")[0] for note in notes]
    convs = [module for module in network.features if isinstance(module, nn.Conv2d)]
    for number, (conv, layer) in enumerate(zip(convs, genome.parse(text), strict=False), start=1):
        if layer.kind == "RC":
            assert (conv.padding != (0, 0)) is (f"layer {number}" in padded)
            assert conv.stride == (2, 2)
    assert network(torch.zeros(1, *shape)).shape == (1, 10)


def test_the_network_is_the_skeletons_layer_by_layer():
    """conv + activation each, mean over the image, dense 64 with the end's activation, plain logits."""
    torch.manual_seed(0)
    text = "NC 5 3 tanh;RC 6 3 swish;RC 7 5 gelu;FL sigmoid"
    network, images = build(a_genome(text), (3, 20, 20), 4), torch.rand(2, 3, 20, 20)
    weights = list(network.parameters())
    assert [tuple(weight.shape) for weight in weights] == [
        (5, 3, 3, 3), (5,), (6, 5, 3, 3), (6,), (7, 6, 5, 5), (7,), (64, 7), (64,), (4, 64), (4,),
    ]  # fmt: skip
    maps = torch.tanh(functional.conv2d(images, weights[0], weights[1], padding=1))
    maps = functional.silu(functional.conv2d(maps, weights[2], weights[3], stride=2))
    maps = functional.gelu(functional.conv2d(maps, weights[4], weights[5], stride=2))
    dense = torch.sigmoid(maps.mean(dim=(2, 3)) @ weights[6].T + weights[7])
    assert torch.allclose(network(images), dense @ weights[8].T + weights[9], atol=1e-6)


POINTS = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0])
FORMULAS = {
    "relu": lambda x: max(x, 0.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "swish": lambda x: x / (1 + math.exp(-x)),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_what_they_are_called(name):
    expected = torch.tensor([FORMULAS[name](x) for x in POINTS.tolist()])
    assert torch.allclose(ACTIVATIONS[name]()(POINTS), expected, atol=1e-6)
    assert set(ACTIVATIONS) == set(FORMULAS) == set(genome.ACTIVATIONS)


def test_weights_start_glorot_uniform_and_biases_zero():
    torch.manual_seed(0)
    network = build(a_genome("NC 30 5 relu;RC 40 3 relu;FL relu"), FASHION, 10)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            area = math.prod(module.weight.shape[2:])
            bound = math.sqrt(6 / ((module.weight.shape[0] + module.weight.shape[1]) * area))
            assert 0.97 * bound < module.weight.abs().max() <= bound
            assert abs(module.weight.std() / (bound / math.sqrt(3)) - 1) < 0.06
            assert (module.bias == 0).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activated_logits_are_the_logits_through_the_ends_activation(activation):
    text = f"NC 5 3 tanh;RC 6 3 tanh;RC 7 3 tanh;FL {activation}"
    networks = []
    for more in ({}, {"activated_logits": False}, {"activated_logits": True}):
        torch.manual_seed(0)
        networks.append(build(a_genome(text, **more), FASHION, 10))
    images = torch.randn(32, *FASHION, generator=torch.Generator().manual_seed(1))
    by_default, plain, activated = (network(images) for network in networks)
    assert torch.equal(by_default, plain)
    assert torch.allclose(activated, ACTIVATIONS[activation]()(plain))
    assert not torch.allclose(activated, plain)
    assert (plain < 0).any()
    if activation in ("relu", "sigmoid"):
        assert (activated >= 0).all()
    assert len({parameters(network) for network in networks}) == 1


@pytest.mark.parametrize("value", ["true", 1, None])
def test_activated_logits_is_true_or_false(value):
    with pytest.raises(InputError, match="activated_logits is true or false, got"):
        build(a_genome("NC 5 3 relu;FL relu", activated_logits=value), FASHION, 10)


# -- the simple CNN --------------------------------------------------------------------------------------------------

DEPTHS = {8: 1, 9: 1, 10: 2, 11: 2, 22: 3, 28: 3, 29: 3, 32: 3, 64: 4, 128: 5, 224: 5}


@pytest.mark.parametrize("side", DEPTHS)
def test_blocks_end_once_two_pixels_or_less_are_left(side):
    depths = [effective_depth(blocks, side, side) for blocks in range(1, 6)]
    assert depths == [min(blocks, DEPTHS[side]) for blocks in range(1, 6)]
    for blocks, depth in enumerate(depths, start=1):
        with torch.device("meta"):
            network = build(a_simple_cnn(blocks, 16, 0.0), (1, side, side), 4)
            network(torch.empty(1, 1, side, side))
        assert sum(isinstance(module, nn.Conv2d) for module in network) == depth


def test_sides_of_the_simple_cnn():
    config = a_simple_cnn(5, 16, 0.0)
    network = build(config, OCT, 4)
    sides, maps = [], torch.zeros(1, *OCT)
    for module in network:
        maps = module(maps)
        if isinstance(module, nn.MaxPool2d):
            sides.append(maps.shape[-1])
    assert sides == [13, 5, 1]
    inputs = [build(a_simple_cnn(n, 16, 0.0), OCT, 4)[-3].in_features for n in (1, 2, 3, 4, 5)]
    assert inputs == [5408, 800, 32, 32, 32]


@pytest.mark.parametrize("dropout", [0, 0.0, 0.2, 0.8])
def test_dropout_stands_once_after_the_blocks(dropout):
    network = build(a_simple_cnn(2, 16, dropout), OCT, 4)
    kinds = [type(module).__name__ for module in network]
    block, end = ["Conv2d", "ReLU", "MaxPool2d"], ["Flatten", "Linear", "ReLU", "Linear"]
    assert kinds == [*block, *block, *["Dropout"] * (dropout > 0), *end]
    assert [module.p for module in network if isinstance(module, nn.Dropout)] == [dropout] * (dropout > 0)


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 64, 64), (3, 8, 20), (1, 128, 128)], ids=str)
def test_configs_merge_exactly_when_they_build_the_same_network(shape):
    merge = same_network({"model": "simple_cnn"}, shape)
    built = []
    for blocks in range(1, 6):
        config = a_simple_cnn(blocks, 16, 0.2)
        with torch.device("meta"):
            plan = str(build(config, shape, 4))
        merged = merge(config)
        assert merged == merge(merged)
        assert str(build(merged, shape, 4)) == plan
        built.append((merged, plan))
    for one, other in pairwise(built):
        assert (one[0] == other[0]) is (one[1] == other[1])


def test_no_two_genomes_are_the_same_network():
    assert same_network({"model": "genome"}, FASHION) is None
    assert same_network({}, FASHION) is None


# -- what networks cost -------------------------------------------------------------------------------------------


def test_flops_equal_the_closed_form():
    flops = cost(a_genome("NC 5 3 relu;RC 6 3 gelu;RC 7 5 tanh;FL swish"), (3, 28, 28), 10)["flops"]
    convs = 3 * 5 * 9 * 28**2 + 5 * 6 * 9 * 13**2 + 6 * 7 * 25 * 5**2
    assert flops == 2 * (convs + 7 * 64 + 64 * 10)
    flops = cost(a_simple_cnn(2, 50, 0.2), OCT, 4)["flops"]
    assert flops == 2 * (32 * 9 * 26**2 + 32 * 32 * 9 * 11**2 + 800 * 50 + 50 * 4)


class Devices(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        items = out if isinstance(out, tuple | list) else [out]
        self.seen |= {item.device.type for item in items if torch.is_tensor(item)}
        return out


@pytest.mark.parametrize("name", CONFIGS)
def test_cost_allocates_nothing_draws_nothing_and_is_exact(name):
    state = torch.random.get_rng_state()
    with Devices() as devices:
        found = cost(CONFIGS[name], (3, 28, 28), 10)
    assert devices.seen == {"meta"}
    assert torch.equal(torch.random.get_rng_state(), state)
    assert found["params"] == parameters(build(CONFIGS[name], (3, 28, 28), 10))
    kinds = {"params": int, "flops": int, "memory_mb": float}
    assert {name: type(value) for name, value in found.items()} == kinds
    assert all(value > 0 for value in found.values())


def test_what_no_machine_could_hold_still_has_a_cost():
    huge = cost(a_genome("NC 100000 99 relu;NC 100000 99 relu;FL relu"), FASHION, 10)
    assert huge["params"] > 9e13


def test_frozen_weights_are_no_trainable_parameters():
    network = nn.Linear(3, 2)
    network.bias.requires_grad_(False)
    assert parameters(network) == 6


# -- which model ---------------------------------------------------------------------------------------------------

ERRORS = [
    ({"model": "genom", "architecture": "x"}, FASHION, 10, "unknown model 'genom'. Did you mean 'genome'? Known:"),
    ({"model": 3}, FASHION, 10, "unknown model '3'"),
    ({"model": "genome", "lr": 0.1}, FASHION, 10, "model 'genome' needs architecture; the config has model, lr"),
    ({"lr": 0.1}, FASHION, 10, "model 'genome' needs architecture"),
    ({"model": "simple_cnn", "hidden": 3}, FASHION, 10, "needs conv_layers, dropout; the config has model, hidden"),
    (a_genome("NC 5 3 rellu;FL relu"), FASHION, 10, "unknown activation. Did you mean 'relu'?"),
    (a_genome("NC 5 3 relu;FL relu"), (2, 28, 28), 10, "networks take 1 or 3 channels"),
    (a_genome("NC 5 3 relu;FL relu"), (1, 7, 28), 10, "sides from 8 px"),
    (a_genome("NC 5 3 relu;FL relu"), (1, 28, 7), 10, "got (1, 28, 7)"),
    (a_genome("NC 5 3 relu;FL relu"), FASHION, 0, "a class or more"),
    ({"model": "raynas_test_absent:net"}, FASHION, 10, "cannot import model 'raynas_test_absent:net'"),
]


@pytest.mark.parametrize(("config", "shape", "classes", "fragment"), ERRORS)
def test_what_cannot_be_built_is_said(config, shape, classes, fragment):
    with pytest.raises(InputError) as caught:
        build(config, shape, classes)
    assert fragment in str(caught.value)


def test_the_model_is_a_genome_where_none_is_named():
    assert model({"lr": 0.1}) is MODELS["genome"]
    assert parameters(build({"architecture": "NC 5 1 relu;RC 5 1 relu;RC 5 1 relu;FL relu"}, FASHION, 10)) == 1104


def own_network(config, input_shape, classes):
    hidden = config["hidden"]
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), hidden), nn.Linear(hidden, classes))


@pytest.mark.parametrize("width", [5, {"randint": [4, 9]}])
def test_a_model_of_ones_own_reads_what_varies_too(width):
    space = read({"model": f"{__name__}:own_network", "hidden": width, "lr": {"loguniform": [1e-4, 1e-1]}})
    check_parameters(space, Recipe())


def test_a_model_of_ones_own():
    config = {"model": f"{__name__}:own_network", "hidden": 5, "lr": 0.1}
    assert build(config, (3, 8, 8), 2)(torch.zeros(4, 3, 8, 8)).shape == (4, 2)
    assert cost(config, (3, 8, 8), 2)["params"] == 192 * 5 + 5 + 5 * 2 + 2
    assert model(config).needs == ("hidden", "lr")
    assert same_network(config, (3, 8, 8)) is None
