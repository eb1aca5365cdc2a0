"""Zero-cost proxies: what an untrained network says of how well it would train.

Each maps a network and a batch of images (B, C, H, W) to a number of which only the rank means something; higher is better.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from raynas.models.build import Shape, build
from raynas.models.cost import cost
from raynas.models.ops import ACTIVATIONS
from raynas.tables import InputError

RIDGE = 1e-5  # of jacov
Activations = tuple({type(make()) for make in ACTIVATIONS.values()})
Measure = Callable[[nn.Module, Tensor], float]


def _of(network: nn.Module, kinds: Any) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kinds)]


def synflow(network: nn.Module, images: Tensor) -> float:
    """Log of the synaptic flow: the sum over all weights of |w dR/dw|, R the output for an image of ones when every
    parameter is replaced by its absolute value, normalisation left out (Tanaka et al., 2020, eq. 2; Abdelfattah et al.,
    2021, sec. 3.2). Activations are left out too, which for ReLU changes nothing: all that comes to it is positive."""
    network = network.double().eval()
    for module in _of(network, (_BatchNorm, *Activations)):
        module.register_forward_hook(lambda module, given, made: given[0])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    network(torch.ones(1, *images.shape[1:], dtype=torch.float64)).sum().backward()
    weights = [parameter for parameter in network.parameters() if parameter.grad is not None and parameter.dim() > 1]
    flow = sum(float((weight.detach() * weight.grad).abs().sum()) for weight in weights if weight.grad is not None)
    return math.log(flow) if flow > 0 else -math.inf


def naswot(network: nn.Module, images: Tensor) -> float:
    """log |det K|, K[i, j] the number of activations that are on for both images or off for both (Mellor et al., 2021,
    eq. 2). On means that what comes to the activation is positive."""
    switches = _of(_batchwise(network), Activations)
    if not switches:
        raise InputError("naswot looks at activation modules (nn.ReLU, …), and the model has none")
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64)

    def count(module: nn.Module, given: Any, made: Any) -> None:
        on = (given[0].flatten(1) > 0).float()
        off = 1.0 - on
        kernel.add_((on @ on.T + off @ off.T).double())

    hooks = [module.register_forward_hook(count) for module in switches]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return float(torch.linalg.slogdet(kernel).logabsdet)


def jacov(network: nn.Module, images: Tensor) -> float:
    """-sum(log(v + k) + 1 / (v + k)) over the eigenvalues v of the correlation of the images' Jacobians d(sum of
    outputs)/d(image), k = 1e-5 (Mellor et al., 2020, version 1 of the same paper, eq. 1)."""
    images = images.clone().requires_grad_()
    _batchwise(network)(images).sum().backward()
    assert images.grad is not None
    rows = images.grad.flatten(1).double()
    rows = rows - rows.mean(dim=1, keepdim=True)
    lengths = rows.norm(dim=1, keepdim=True)
    if float(lengths.min()) == 0.0:
        return -math.inf  # the output does not depend on some image
    rows = rows / lengths
    values = torch.linalg.eigvalsh(rows @ rows.T).clamp(min=0.0)
    return float(-(torch.log(values + RIDGE) + 1.0 / (values + RIDGE)).sum())


def _batchwise(network: nn.Module) -> nn.Module:
    """Normalising by the batch, as an untrained network must; nothing dropped at random."""
    network.train()
    for module in _of(network, nn.modules.dropout._DropoutNd):
        module.eval()
    return network


PROXIES: dict[str, Measure | None] = {
    "synflow": synflow,
    "naswot": naswot,
    "jacov": jacov,
    "params": None,  # costs need no network
    "flops": None,
}


def proxy(name: str, config: dict[str, Any], images: Tensor, classes: int, seed: int) -> float:
    """The proxy called `name` of the network of `config`, whose weights start from `seed`."""
    shape: Shape = tuple(images.shape[1:])  # type: ignore[assignment]
    measure = PROXIES[name]
    if measure is None:
        return float(cost(config, shape, classes)[name])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the layers are small, and trials may be training beside it
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return measure(build(config, shape, classes), images)
    finally:
        torch.set_num_threads(threads)
