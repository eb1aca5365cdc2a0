"""Tables of trained configs: a trial is answered with its recorded reports and simulated seconds instead of training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from raynas.data.dataset import digest_of
from raynas.data.load import data_folder
from raynas.tables import InputError, look_up, nearest

PREFIX = "tabular:"
IMAGES = {"cifar10": ((3, 32, 32), 10), "cifar100": ((3, 32, 32), 100), "imagenet16_120": ((3, 16, 16), 120)}
Find = Callable[[Mapping[str, Any]], int]


@dataclass(frozen=True, eq=False)
class Table:
    """`find` maps a config to its row, and raises InputError where it has none. `metrics` (rows, reports) are what a trial
    reports at `epochs`, `seconds` (rows, reports) the simulated time since its start. `costs` (rows,) are known before.
    `final` (rows,) is what one looks at when the search is over: searches never see it. `parameters` is the space."""

    name: str
    find: Find
    epochs: tuple[int, ...]
    metrics: dict[str, np.ndarray]
    seconds: np.ndarray
    parameters: dict[str, Any]
    costs: dict[str, np.ndarray] = field(default_factory=dict)
    final: dict[str, np.ndarray] = field(default_factory=dict)
    images: tuple[tuple[int, int, int], int] | None = None  # what its networks take: (C, H, W) and classes
    digest: str = ""  # of the file

    def __len__(self) -> int:
        return len(self.seconds)

    def reports(self, row: int, most: int | None = None) -> list[dict[str, Any]]:
        """What a trial of this row reports, up to `most` epochs: `epoch`, `simulated_s` since its start, metrics. NaN
        seconds are no report: not every row has all epochs. NaN metrics are a training that diverged."""
        found = []
        for place, epoch in enumerate(self.epochs):
            seconds = self.seconds[row, place]
            if most is not None and epoch > most:
                break
            if np.isnan(seconds):
                continue
            values = {name: float(column[row, place]) for name, column in self.metrics.items()}
            found.append({"epoch": epoch, "simulated_s": float(seconds), **values})
        return found

    def cost(self, row: int) -> dict[str, Any]:
        return {name: column[row].item() for name, column in self.costs.items()}


def is_tabular(data: Any) -> bool:
    return isinstance(data, str) and data.startswith(PREFIX)


def load_table(data: str) -> Table:
    """The table of `tabular:FILE#PART`; raises InputError when the file or the part is none."""
    name, _, part = data.removeprefix(PREFIX).partition("#")
    path = find_table(name)
    try:
        return _load(path.resolve(), path.stat().st_mtime_ns, part)
    except OSError as error:
        raise InputError(f"cannot read the table '{name}': {error}") from error


def find_table(name: str) -> Path:
    """The file itself, or that of the name where datasets are looked for."""
    path = Path(name).expanduser()
    kept = data_folder() / name
    return kept if not path.is_file() and kept.is_file() else path


@lru_cache(maxsize=8)
def _load(path: Path, changed: int, part: str) -> Table:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (ValueError, KeyError, EOFError) as error:
        raise InputError(f"'{path.name}' is no table of plain arrays (.npz): {error}") from error
    for kind, (needed, read) in KINDS.items():
        if needed in arrays:
            return replace(read(_Columns(path.name, kind, arrays), part), digest=digest_of(arrays))
    known = ", ".join(f"'{needed}' ({kind})" for kind, (needed, _) in KINDS.items())
    raise InputError(f"'{path.name}' is no known table: it has none of the columns {known}")


class _Columns:
    """The arrays of a file; a missing one is said."""

    def __init__(self, file: str, kind: str, arrays: dict[str, np.ndarray]):
        self.file, self.kind, self.arrays = file, kind, arrays

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.arrays:
            raise InputError(
                f"the table '{self.file}' ({self.kind}) has no column '{name}'.{nearest(name, self.arrays)}"
            )
        return self.arrays[name]


def _exact(file: str, keys: list[str], rows: list[tuple[Any, ...]]) -> Find:
    """Looks configs up by the parameters called `keys`."""
    index = {row: number for number, row in enumerate(rows)}

    def find(config: Mapping[str, Any]) -> int:
        missing = [key for key in keys if key not in config]
        if missing:
            raise InputError(
                f"the table '{file}' is asked by {', '.join(keys)}; the config has no {', '.join(missing)}"
            )
        values = tuple(config[key] for key in keys)
        if values not in index:
            said = ", ".join(f"{key}={value!r}" for key, value in zip(keys, values, strict=True))
            raise InputError(f"the table '{file}' has no row for {said}")
        return index[values]

    return find


def _nas_bench_201(columns: _Columns, part: str) -> Table:
    """Validation accuracy after 12 and 200 epochs; test accuracy after 200 is for the end. A trial's seconds are its share
    of those of 200 epochs of training."""
    parts = sorted(name.removesuffix("_params") for name in columns.arrays if name.endswith("_params"))
    look_up("part of the table", part, dict.fromkeys(parts))
    seconds = columns[f"{part}_train_seconds_e200"]
    cells = [cell.decode() for cell in columns["arch_str"]]
    return Table(
        name=f"{columns.file}#{part}",
        find=_exact(columns.file, ["architecture"], [(cell,) for cell in cells]),
        epochs=(12, 200),
        metrics={
            "val_accuracy": np.stack([columns[f"{part}_valid_acc_e12"], columns[f"{part}_valid_acc_e200"]], axis=1)
            / 100
        },
        seconds=np.stack([seconds * 12 / 200, seconds], axis=1),
        parameters={"model": "nas_bench_201", "architecture": {"cell": {"nodes": 4}}},
        costs={"params": columns[f"{part}_params"], "latency_ms": 1000 * columns[f"{part}_latency_seconds"]},
        final={
            "test_accuracy": columns[f"{part}_test_acc_e200"] / 100,
            "val_accuracy_200": columns[f"{part}_valid_acc_e200"] / 100,
        },
        images=IMAGES.get(part),
    )


def _nas_bench_macro(columns: _Columns, part: str) -> Table:
    """Eight layers of three choices. The table has no validation split: the first of three runs is what a search sees,
    their mean what counts at the end. Its trials have no times: one simulated second each."""
    choices, names = columns["choices"], [str(name) for name in columns["choice_names"]]
    keys = [f"layer_{number}" for number in range(1, choices.shape[1] + 1)]
    return Table(
        name=columns.file,
        find=_exact(columns.file, keys, [tuple(names[choice] for choice in row) for row in choices]),
        epochs=(1,),
        metrics={"val_accuracy": columns["test_acc_runs"][:, :1] / 100},
        seconds=np.ones((len(choices), 1)),
        parameters={key: {"choice": names} for key in keys},
        costs={"params": columns["params"], "flops": 2 * columns["flops"]},
        final={"test_accuracy": columns["test_acc"] / 100},
    )


def _taskset(columns: _Columns, part: str) -> Table:
    """Learning curves of optimisers: 51 reports of the loss, each one simulated second. `row` is the parameter."""
    tasks = [str(name) for name in columns["tasks"]]
    if not part.isdigit() or int(part) >= len(tasks):
        raise InputError(f"say which task of '{columns.file}': #0 to #{len(tasks) - 1}, got '#{part}'")
    valid, test = columns[f"valid_{part}"], columns[f"test_{part}"]
    rows, steps = valid.shape
    return Table(
        name=f"{columns.file}#{part}",
        find=_exact(columns.file, ["row"], [(row,) for row in range(rows)]),
        epochs=tuple(range(1, steps + 1)),
        metrics={"val_loss": valid},
        seconds=np.tile(np.arange(1.0, steps + 1), (rows, 1)),
        parameters={"row": {"randint": [0, rows]}},
        final={"test_loss": test[:, -1]},
    )


KINDS: dict[str, tuple[str, Callable[[_Columns, str], Table]]] = {
    "NAS-Bench-201": ("arch_str", _nas_bench_201),
    "NAS-Bench-Macro": ("choice_names", _nas_bench_macro),
    "TaskSet": ("hp_names", _taskset),
}
"""Kinds of table: the column by which one is known, and how it is read."""
