"""Sensible networks that need no search: one for each kind of space, to measure what is found against."""

from collections.abc import Callable, Mapping
from typing import Any

from raynas.models.build import DEFAULT, model
from raynas.space import Config, Space, kinds
from raynas.space.cell import Cell, show_cell
from raynas.space.genome import Genome, Layer, show_layers
from raynas.space.macro import Macro
from raynas.space.micro_cell import MicroCell, show_pairs
from raynas.train.recipe import Recipe

WIDEST = 64  # filters of a plain chain, from 16 on


def plain_chain(domain: Genome) -> str:
    """As people draw them: 3x3 and relu, twice the filters after each reduction."""
    low, high = domain.filters
    kernel = min(domain.kernels, key=lambda size: abs(size - 3))
    activation = "relu" if "relu" in domain.activations else domain.activations[0]
    widths = [min(max(min(16 * 2**place, WIDEST), low), high) for place in range(domain.reductions + 1)]
    body = [Layer("NC" if place == 0 else "RC", width, kernel, activation) for place, width in enumerate(widths)]
    body += [Layer("NC", widths[-1], kernel, activation)] * (domain.depths[0] - len(body) - 1)
    return show_layers((*body, Layer("FL", 0, 0, activation)))


def residual_cell(domain: Cell) -> str | None:
    """ResNet's block, as NAS-Bench-201 draws it: a chain of 3x3 convolutions, and a skip around it."""
    if not {"none", "skip_connect", "nor_conv_3x3"} <= set(domain.operations) or domain.nodes < 3:
        return None
    last = domain.nodes - 1
    chain = [("none",) * (node - 1) + ("nor_conv_3x3",) for node in range(1, last)]
    return show_cell((*chain, ("skip_connect", *("none",) * (last - 2), "skip_connect")))


def separable_cell(domain: MicroCell) -> str | None:
    """Every node adds a separable 3x3 convolution of both inputs."""
    if "sep_conv_3x3" not in domain.operations:
        return None
    return show_pairs(((("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),) * domain.nodes)


def convolutions(domain: Macro) -> str | None:
    """3x3 convolutions one after the other, no skips."""
    return "+".join(["conv_3x3"] * domain.layers) if "conv_3x3" in domain.operations else None


def middle(domain: Any) -> Any:
    """The middle of a plain range."""
    return kinds.decode(domain, 0.5)


BASELINES: dict[str, Callable[[Any], Any]] = {
    "genome": plain_chain,
    "simple_cnn": middle,
    "nas_bench_201": residual_cell,
    "enas_micro": separable_cell,
    "enas_macro": convolutions,
}
"""By model: the value of each parameter that makes the network, from its domain; None where the domain has none such."""


def baseline(space: Space, training: Mapping[str, Any]) -> Config | None:
    """The baseline of a space: the table's network, and of each hyperparameter the value of `training` where the space has
    that too, else the middle of its range. None for models that the table does not know."""
    name = space.constants.get("model", DEFAULT)
    if name not in BASELINES:
        return None
    made = hyperparameters(space, training)
    for parameter in model(space.constants).needs:
        if parameter in space.domains and parameter not in made:
            made[parameter] = BASELINES[name](space.domains[parameter])
    return None if None in made.values() else {key: made.get(key, value) for key, value in space.parameters.items()}


def hyperparameters(space: Space, training: Mapping[str, Any]) -> Config:
    """Sensible values of the plain parameters that vary."""
    recipe, made = {**Recipe().model_dump(), **training}, {}
    for name, domain in space.domains.items():
        if list(kinds.genes(domain)) == [""]:  # structured ones have genes with names
            said = recipe.get(name)
            made[name] = said if said is not None and kinds.contains(domain, said) else middle(domain)
    return made
