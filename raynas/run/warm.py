"""A warm-up from its settings: which networks its proxy sees, and which images."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from raynas.models.proxies import PROXIES, proxy
from raynas.objectives import MEASURED, broken
from raynas.rng import seed_at, stream
from raynas.searchers import Searcher, Warmed, WarmUp
from raynas.searchers.warm_up import WORST
from raynas.settings import check
from raynas.space import Config
from raynas.tables import InputError, look_up

if TYPE_CHECKING:
    from raynas.run.plan import Plan

IMAGES = 64  # that a proxy looks at


def warmed(inner: Searcher, given: Any, seed: int, plan: "Plan") -> Warmed:
    """`inner` behind a warm-up; `given` is the name of a proxy, or the settings of WarmUp."""
    settings = check(WarmUp, {"proxy": given} if isinstance(given, str) else _mapping(given), "search.warm_up")
    look_up("proxy", settings.proxy, PROXIES)
    images, classes = _batch(plan, seed)
    limits = tuple(limit for limit in plan.limits if limit.cost != MEASURED)

    def score(config: Config) -> float | None:
        if limits and broken(limits, plan.cost(config) or {}) is not None:
            return None
        try:
            return proxy(settings.proxy, config, images, classes, seed_at(seed, 4))
        except InputError:
            raise
        except Exception:  # as a trial it will fail with its own error
            return WORST

    score(plan.space.sample(stream(0, 0)))  # a model that the proxy cannot look at is said now
    return Warmed(inner, plan.space, seed, settings, score, lambda config: (plan.cost(config) or {}).get("params"))


def _mapping(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InputError(f"warm_up is the name of a proxy ({', '.join(PROXIES)}) or its settings, got {given!r}")
    return given


def _batch(plan: "Plan", seed: int) -> tuple[Tensor, int]:
    """Training images, normalised, (B, C, H, W), and the number of classes; noise where a table stands for the data."""
    if plan.dataset is not None and plan.architectures is None:
        data = plan.dataset
        chosen = np.sort(stream(seed, 4).permutation(len(data.train))[:IMAGES])
        images = (data.train.images[chosen] - data.mean) / data.std
        return torch.as_tensor(images, dtype=torch.float32).permute(0, 3, 1, 2).contiguous(), data.classes
    if plan.table is not None and plan.table.images is not None:
        shape, classes = plan.table.images
        return torch.as_tensor(stream(seed, 4).normal(size=(IMAGES, *shape)), dtype=torch.float32), classes
    raise InputError("warm_up scores untrained networks that raynas builds, and here it builds none")
