"""The recipe: how a network is trained."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from raynas.data.augment import RECIPES
from raynas.settings import Settings, check
from raynas.tables import unknown

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _constant(progress: float) -> float:
    return 1.0


def _cosine(progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _one_cycle(progress: float) -> float:
    """Up from 1/25 to 1 over the first 30 %, then down to 0, both along a cosine (Smith & Topin, 2018)."""
    if progress < 0.3:
        return 1.0 - (1.0 - 1.0 / 25.0) * _cosine(progress / 0.3)
    return _cosine((progress - 0.3) / 0.7)


SCHEDULES: dict[str, Callable[[float], float]] = {"constant": _constant, "cosine": _cosine, "one-cycle": _one_cycle}
"""The share of the peak learning rate as a function of how much of the training is done, in [0, 1)."""


class Recipe(Settings):
    """Every field but `epochs` can also be a parameter of the space; a trial's config then wins over the experiment's `training`."""

    epochs: Annotated[int, Field(ge=1)] = 5
    batch_size: Annotated[int, Field(ge=1)] = 128
    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: Positive = 1e-3
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # of sgd, Nesterov's
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-2
    schedule: Literal["constant", "cosine", "one-cycle"] = "cosine"
    cycles: Annotated[int, Field(ge=1, le=10)] = 1  # of the schedule, each twice as long as the one before
    lr_final: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0  # where the schedule's zero is
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    clip: Positive | None = None  # largest gradient norm
    augment: str = "none"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 where it is fast

    @field_validator("augment")
    @classmethod
    def _known_augmentation(cls, name: str) -> str:
        if name not in RECIPES:
            raise unknown("augmentation", name, RECIPES)
        return name

    def lr_at(self, step: int, steps: int) -> float:
        """The learning rate of a step, of `steps` in the whole training. Warm restarts (Loshchilov & Hutter, 2017) are
        cycles: 4 of them in 150 epochs begin at 0, 10, 30 and 70."""
        firsts = 1 + (2**self.cycles - 1) * step / steps  # the first cycle is from 1 to 2, the second to 4, …
        began = 2.0 ** math.floor(math.log2(firsts))
        return self.lr_final + (self.lr - self.lr_final) * SCHEDULES[self.schedule](firsts / began - 1.0)


def recipe_for(training: dict[str, Any], config: dict[str, Any]) -> Recipe:
    """The experiment's `training` with what the config says of it."""
    said = {name: value for name, value in config.items() if name in Recipe.model_fields}
    return check(Recipe, {**training, **said}, "training")
