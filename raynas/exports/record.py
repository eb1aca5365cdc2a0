"""What `model.json` says of a model: all it takes to load it without the experiment's store."""

from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, ValidationError

from raynas.settings import Settings
from raynas.tables import InputError

FILE = "model.json"
Count = Annotated[int, Field(ge=0)]


class Scored(Settings):
    """Accuracy on images that no part of the search has seen, with its 95 % interval."""

    accuracy: float
    low: float
    high: float
    images: Count


class Score(Protocol):
    """What a look at the test split gives."""

    @property
    def trial(self) -> int: ...
    @property
    def accuracy(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def images(self) -> int: ...


class Search(Settings):
    """The search that the network comes from."""

    searcher: str
    objective: dict[str, Any]
    seed: int
    trials: Count  # that were trained
    training_s: float  # spent on all of them
    elapsed_s: float


class Verified(Settings):
    """The verification that trained the network anew, with `trainings` fresh seeds: `mean` test accuracy over them, ± `half`
    (95 %; None of one training). `of` is the finalist's trial in the search."""

    verification: str
    label: str
    kind: Literal["finalist", "random", "baseline"]
    of: Count | None
    recommended: bool
    finalists: Count  # that it chose among
    trainings: Count
    mean: float
    half: float | None
    all_trainings: Count  # of all its networks
    training_s: float
    elapsed_s: float


class Record(Settings):
    """`classes` counts classes, or labels where `task` is multi-label. Networks take images (B, C, H, W), float32, in the
    data's own units (bytes: 0 to 255, where `dtype` is uint8); `mean` and `std`, a channel, normalise them. `formats` has
    the largest difference that the logits of each had from the original's."""

    raynas_model: Literal[1] = 1  # the version of this layout
    name: str  # of the experiment: a search's, or NAME/verify-1
    trial: Count
    config: dict[str, Any]
    task: Literal["classification", "multi-label"]
    input_shape: Annotated[list[int], Field(min_length=3, max_length=3)]
    classes: Annotated[int, Field(ge=1)]
    class_names: list[str]
    dtype: Literal["uint8", "float32"]
    mean: list[float]
    std: list[float]
    metrics: dict[str, float]  # of the trial's last report
    epochs: Count
    training: dict[str, Any]  # the recipe
    training_s: float
    test: Scored | None
    cost: dict[str, int | float]  # params, flops, memory_mb
    search: Search
    verified: Verified | None = None
    data: dict[str, Any]  # name, digest, sizes of the splits
    fingerprints: dict[str, Any]
    formats: dict[str, float] = {}

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)"""
        channels, height, width = self.input_shape
        return channels, height, width

    @property
    def units(self) -> str:
        """What numbers images are made of, in words."""
        return "pixels from 0 to 255" if self.dtype == "uint8" else "in the units of the data it was trained on"

    @property
    def title(self) -> str:
        return title(self.name, self.trial)

    @property
    def origin(self) -> str:
        """Which network it is, in words."""
        if self.verified is None:
            return f"trial {self.trial} of {self.name}"
        search, found = self.name.partition("/")[0], self.verified
        which = f"{found.label} beside {search}" if found.of is None else f"trial {found.of} of {search}"
        return f"{which}, as retrained by its verification (training {self.trial} of {found.verification})"


def title(name: str, trial: int) -> str:
    """What a model is called, and its folder: a name of two parts is that of trials beside a search's own."""
    return f"{name.replace('/', '-')}-trial-{trial}"


def write_record(folder: Path, record: Record) -> None:
    (folder / FILE).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_record(folder: Path) -> Record:
    """What the folder's model.json says. Raises InputError where there is none or it is another file."""
    path = folder / FILE
    try:
        record = Record.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"'{path}' does not describe a model: {where + ': ' if where else ''}{first['msg']}"
        ) from error
    channels = record.shape[0]
    if len(record.class_names) != record.classes or {len(record.mean), len(record.std)} != {channels}:
        raise InputError(
            f"'{path}' does not describe a model: its classes or channels do not go with their names or means"
        )
    return record
