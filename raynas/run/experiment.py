"""The Experiment: everything that says what a search is, frozen, strictly read, stored with its results."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from raynas.data.split import SPLITS
from raynas.data.tabular import is_tabular
from raynas.objectives import OBJECTIVES, parse_limit
from raynas.settings import Settings
from raynas.tables import InputError, is_import_name, look_up, unknown
from raynas.train.recipe import Recipe

Count = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Budget(Settings):
    """What the search may use; whichever is used up first ends it. Twins of trained networks are free."""

    trials: Count | None = None
    wall_time_s: Amount | None = None  # of the driver, over all sessions
    gpu_hours: Amount | None = None  # training time times the trial's share of a GPU

    @model_validator(mode="after")
    def _bounded(self) -> "Budget":
        if self.trials is None and self.wall_time_s is None and self.gpu_hours is None:
            return self.model_copy(update={"trials": 20})
        return self


AUTO = "auto"  # as resources.gpu: the share of a GPU that a candidate needs is measured


class Resources(Settings):
    """What a trial gets, or each of the `workers` that train one together. `gpu` null: one GPU where there are any, else
    none. `concurrency` caps the trials at once; with `autoscaled` so many are asked for whether or not they fit now."""

    cpu: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    gpu: float | Literal["auto"] | None = None
    concurrency: Count | None = None
    workers: Count = 1
    autoscaled: bool = False

    @field_validator("gpu", mode="before")
    @classmethod
    def _share(cls, gpu: Any) -> Any:
        if gpu is None or gpu == AUTO:
            return gpu
        if isinstance(gpu, bool) or not isinstance(gpu, int | float) or not 0 <= gpu < math.inf:
            raise InputError(f"gpu is a number of GPUs, 0 or more, or '{AUTO}', got {gpu!r}")
        if gpu > 1 and gpu != int(gpu):
            raise InputError(f"gpu is a share up to 1 or a whole number of GPUs, got {gpu:g}")
        return float(gpu)

    @model_validator(mode="after")
    def _go_together(self) -> "Resources":
        if self.autoscaled and self.concurrency is None:
            raise InputError("autoscaled asks for nodes by the trials at once: say concurrency")
        if self.workers > 1 and self.gpu == AUTO:
            raise InputError("each of several workers holds whole GPUs or none: gpu: auto is for one")
        return self


DEFAULTS = {"search": "regularized-evolution", "stop": "none", "objective": "accuracy"}


def _named(value: Any, kind: str, key: str = "name") -> Any:
    """`search: random` is short for `search: {name: random}`; options without a name are those of the default."""
    if isinstance(value, str):
        return {key: value}
    if isinstance(value, dict) and key not in value:
        return {
            key: value.get("name", DEFAULTS[kind]),
            **{name: option for name, option in value.items() if name != "name"},
        }
    return value


class Experiment(Settings):
    """A search. `space` is a name, a YAML path, `package.module:name` or the parameters themselves; `hyperparameters` adds
    parameters to it or replaces some (a constant fixes one). With `oneshot`, every trial searches `space` in one supernet,
    and `hyperparameters` are those of that search. Without `trainable` (a `package.module:function`
    that yields metrics) networks are built from the configs and trained on `data` by the recipe `training`."""

    space: str | dict[str, Any]
    hyperparameters: dict[str, Any] = {}
    oneshot: dict[str, Any] | None = None  # {name: enas, …}: options of train/enas.py
    trainable: str | None = None
    data: str | None = None
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1  # share of train, where the data brings no validation split
    image_size: Count | None = None  # for folders of images
    split: str = "official"  # or "merged": train, validation and test thrown together, no test split left
    search: dict[str, Any] = {"name": DEFAULTS["search"]}
    objective: dict[str, Any] = {"fitness": DEFAULTS["objective"]}
    limits: list[str] = []  # e.g. "params <= 100_000": networks that break one are never trained
    training: Recipe = Recipe()
    stop: dict[str, Any] = {"name": DEFAULTS["stop"]}
    budget: Budget = Budget(trials=20)
    resources: Resources = Resources()
    keep: Annotated[int, Field(ge=0)] = 3  # how many of the best keep their weights
    track: list[str] = []  # who else hears, e.g. "mlflow:sqlite:///mlflow.db"; no part of what the search is
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @model_validator(mode="before")
    @classmethod
    def _architectures(cls, given: Any) -> Any:
        """`space` is that of the architectures where `oneshot` names none: it goes there, and the trials' is what is left. One
        random search is the default."""
        if not isinstance(given, dict) or not isinstance(given.get("oneshot"), str | dict):
            return given
        oneshot = given["oneshot"]
        oneshot = {"name": oneshot} if isinstance(oneshot, str) else {"name": "enas", **oneshot}
        given = {"search": "random", "budget": {"trials": 1}, **given}
        if oneshot.get("space") is not None:
            return {"space": {}, **given, "oneshot": oneshot}
        if "space" not in given:
            return {**given, "oneshot": oneshot}
        return {**given, "oneshot": {**oneshot, "space": given["space"]}, "space": {}}

    @field_validator("search", "stop", mode="before")
    @classmethod
    def _short_name(cls, value: Any, info: ValidationInfo) -> Any:
        return _named(value, info.field_name or "")

    @field_validator("objective", mode="before")
    @classmethod
    def _short_objective(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in OBJECTIVES:
            if value.lower().endswith(("loss", "error")):  # a name alone is maximised
                raise InputError(
                    f"'{value}' reads like something to minimise: {{fitness: metric, metric: {value}, mode: min}} (or max)"
                )
            return {"fitness": "metric", "metric": value}
        return _named(value, "objective", "fitness")

    @field_validator("limits", "track", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("limits")
    @classmethod
    def _well_formed(cls, limits: list[str]) -> list[str]:
        for limit in limits:
            parse_limit(limit)
        return limits

    @field_validator("search", "stop", "objective")
    @classmethod
    def _name_said(cls, value: dict[str, Any]) -> dict[str, Any]:
        name = next(iter(value.values()))
        if not isinstance(name, str):
            raise InputError(f"a name is text, got {name!r}")
        return value

    @model_validator(mode="after")
    def _something_to_train(self) -> "Experiment":
        if self.trainable is None and self.data is None:
            raise InputError("name the data to train on (data: fashion_mnist_mini), or a trainable of your own")
        if self.oneshot is not None and (self.trainable is not None or is_tabular(self.data)):
            raise InputError(
                "a supernet trains on images; oneshot goes with no trainable of your own and with no table"
            )
        if self.trainable is not None and self.data is not None:
            raise InputError("a trainable of your own loads its own data; leave 'data' out")
        if look_up("split", self.split, SPLITS) is not SPLITS["official"] and (self.trainable or is_tabular(self.data)):
            raise InputError("split goes with images: a trainable of your own and tables have their own data")
        return self


def split_name(choice: dict[str, Any], key: str = "name") -> tuple[str, dict[str, Any]]:
    """The name and the options of a `{name: …, option: …}`."""
    return choice[key], {name: value for name, value in choice.items() if name != key}


def look_up_or_import(kind: str, name: str, table: Any, importer: Any) -> Any:
    """A table's entry, or the user's own `package.module:name`."""
    if name in table:
        return table[name]
    if is_import_name(name):
        return importer(kind, name)
    raise unknown(kind, name, table)
