"""Which search spaces a supernet can hold: for each, the supernet, the controller, and how choices name a child."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from raynas.models.build import Shape
from raynas.models.controller import MacroController, MicroController, Policy, Squash
from raynas.oneshot.macro import MacroSupernet
from raynas.oneshot.micro import MicroSupernet
from raynas.space import Space
from raynas.space.macro import Layers, Macro
from raynas.space.micro_cell import MicroCell, Pairs
from raynas.tables import InputError


@dataclass(frozen=True)
class Family:
    """`supernet` takes (space, input shape, classes, options), `controller` (space); `child` maps the choices that the
    controller made, ints, to what the supernet's forward takes. `parameters` are those of its spaces beside `model`."""

    supernet: Callable[..., nn.Module]
    controller: Callable[..., Policy]
    child: Callable[[Space, list[int]], Any]
    parameters: tuple[str, ...]
    options: tuple[str, ...]
    tanh_constant: float  # of the controller's logits, where nothing else is said


def _cells(space: Space) -> tuple[MicroCell, MicroCell]:
    found = [space.parameters.get(name) for name in ("normal", "reduction")]
    if not all(isinstance(cell, MicroCell) for cell in found) or found[0].operations != found[1].operations:  # type: ignore[union-attr]
        raise InputError(
            "a supernet of cells needs the parameters 'normal' and 'reduction', each a micro_cell, with the same operations"
        )
    return found[0], found[1]  # type: ignore[return-value]


def _micro_supernet(space: Space, input_shape: Shape, classes: int, **options: Any) -> nn.Module:
    return MicroSupernet(*_cells(space), input_shape, classes, **options)


def _micro_controller(space: Space, squash: Squash, hidden: int) -> Policy:
    return MicroController(_cells(space), squash=squash, hidden=hidden)


def _micro_child(space: Space, choices: list[int]) -> tuple[Pairs, ...]:
    left, made = iter(choices), []
    for cell in _cells(space):
        pairs = []
        for _ in range(cell.nodes):
            one, other, first, second = (next(left) for _ in range(4))
            pairs.append(((cell.operations[first], one), (cell.operations[second], other)))
        made.append(tuple(pairs))
    return tuple(made)


def _network(space: Space) -> Macro:
    found = space.parameters.get("architecture")
    if not isinstance(found, Macro):
        raise InputError("a supernet of macro networks needs the parameter 'architecture', a macro")
    return found


def _macro_supernet(space: Space, input_shape: Shape, classes: int, **options: Any) -> nn.Module:
    return MacroSupernet(_network(space), input_shape, classes, **options)


def _macro_controller(space: Space, squash: Squash, hidden: int) -> Policy:
    return MacroController(_network(space), squash=squash, hidden=hidden)


def _macro_child(space: Space, choices: list[int]) -> Layers:
    left, network = iter(choices), _network(space)
    layers = []
    for layer in range(1, network.layers + 1):
        name = network.operations[next(left)]
        layers.append((name, tuple(skip for skip in range(1, layer) if next(left))))
    return tuple(layers)


FAMILIES: dict[str, Family] = {
    "enas_micro": Family(
        _micro_supernet,
        _micro_controller,
        _micro_child,
        ("normal", "reduction"),
        ("layers", "channels", "reductions", "stem_stride", "dropout"),
        1.1,
    ),
    "enas_macro": Family(
        _macro_supernet, _macro_controller, _macro_child, ("architecture",), ("channels", "dropout"), 1.5
    ),
}


def family_of(space: Space) -> Family:
    """The family of a space of architectures. Raises InputError where no supernet can hold it."""
    name = space.parameters.get("model", "genome")
    if name not in FAMILIES:
        raise InputError(f"no supernet holds the networks of model '{name}'. Known: {', '.join(FAMILIES)}")
    more = [given for given in space.parameters if given not in ("model", *FAMILIES[name].parameters)]
    if more:
        raise InputError(
            f"a supernet's space has the parameters model, {', '.join(FAMILIES[name].parameters)}; {', '.join(more)}: of the "
            "search (in 'oneshot', 'training' or 'hyperparameters'), or of the network that is derived"
        )
    return FAMILIES[name]
