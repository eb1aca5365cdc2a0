"""The store's rows as frames: columns at once, for half a million reports take a second or two that way."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.json as arrow_json

from raynas.results.columns import CURVES, TRIALS, typed
from raynas.results.schema import reports, trials
from raynas.results.store import Store

COSTS = ("params", "flops", "memory_mb")
TEXTS = ("node", "failure", "error", "identity")
MOMENTS = ("created", "started", "ended")
BLOCK = 1 << 24  # bytes of JSON that Arrow reads at once


def _cell(value: Any) -> Any:
    """A metric as one cell of a table: lists and mappings as JSON."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def _one_by_one(lines: str) -> pd.DataFrame:
    parsed = [json.loads(text) or {} for text in lines.split("\n")]
    return pd.DataFrame(
        [{name: _cell(value) for name, value in row.items()} for row in parsed], index=range(len(parsed))
    )


def _plain(kind: Any) -> bool:
    """Whether pandas holds a column of Arrow's type as it would hold it of Python's values."""
    return (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind)
    )


def objects(lines: str, count: int) -> pd.DataFrame:
    """One row a JSON object, `count` of them in as many lines, one column a name. Arrow reads them at once where every
    column is of one plain type; a column of several (0.1 beside "auto"), of lists, or of texts that look like dates goes
    the slow way."""
    if len(lines) <= count * len("{}\n"):  # all of them empty, or none
        return pd.DataFrame(index=range(count))
    if not lines.startswith("{") or lines.count("\n{") + 1 != count:  # Arrow crashes on a row that is null
        return _one_by_one(lines)
    try:
        table = arrow_json.read_json(pa.py_buffer(lines.encode()), arrow_json.ReadOptions(block_size=BLOCK))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _one_by_one(lines)
    if len(table) != count or not all(_plain(field.type) for field in table.schema):
        return _one_by_one(lines)
    return table.to_pandas()


def _objects_of(texts: Sequence[str | None]) -> pd.DataFrame:
    return objects("\n".join(text or "{}" for text in texts), len(texts))


def read_curves(store: Store) -> pd.DataFrame:
    """One row a report, in the order in which they were heard."""
    numbers: dict[str, list[Any]] = {name: [] for name in CURVES}
    lines: list[str] = []
    sources = [reports.c.trial if name == "number" else reports.c[name] for name in CURVES]
    for batch in store.batches([*sources, reports.c.metrics]):
        *columns, metrics = zip(*batch, strict=True)
        for name, values in zip(CURVES, columns, strict=True):
            numbers[name].append(np.array(values))
        lines.append("\n".join(metrics))
    frame = pd.DataFrame({name: np.concatenate(parts or [np.empty(0)]) for name, parts in numbers.items()})
    metrics_frame = objects("\n".join(lines), len(frame))
    own = metrics_frame[[name for name in metrics_frame.columns if name not in CURVES]]
    return typed(pd.concat([frame, own], axis=1), "curves")


def _costs(costs: pd.DataFrame, reported: pd.DataFrame) -> pd.DataFrame:
    """What was counted before training; what a training of one's own reports itself, where nothing was."""
    made = {}
    for name in COSTS:
        counted = pd.to_numeric(costs[name]) if name in costs else pd.Series(np.nan, index=costs.index)
        if name in reported:
            counted = counted.where(counted.notna(), pd.to_numeric(reported[name], errors="coerce"))
        made[name] = counted
    return pd.DataFrame(made, index=costs.index)


def read_trials(store: Store, curves: pd.DataFrame) -> pd.DataFrame:
    """One row a trial, with the metrics of its last report (of the trial that answered it, where one did)."""
    names = ("number", "state", "fitness", "seconds", "attempt", "duplicate_of", "seed", "origin", *TEXTS, *MOMENTS)
    wanted = (*names, "config", "resources", "cost")
    rows = [row for batch in store.batches([trials.c[name] for name in wanted]) for row in batch]
    read: dict[str, Any] = (
        dict(zip(wanted, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(wanted, ())
    )
    frame = pd.DataFrame({name: pd.Series(list(read[name]), dtype=object) for name in names})
    last = curves.drop_duplicates("number", keep="last").set_index("number")
    answered_by = frame["duplicate_of"].where(frame["duplicate_of"].notna(), frame["number"]).astype("int64")
    reported = last.reindex(answered_by).set_axis(frame.index)
    configs = _objects_of(read["config"])
    resources = _objects_of(read["resources"])
    frame["epochs"] = reported["epoch"]
    frame[list(COSTS)] = _costs(_objects_of(read["cost"]), reported)
    for name in ("cpu", "gpu"):
        frame[name] = resources.get(name, np.nan)
    for name in MOMENTS:
        frame[name] = pd.to_datetime(frame[name].astype("float64"), unit="s", utc=True)
    metrics = reported[[name for name in last.columns if name not in {*CURVES, *TRIALS, *configs.columns}]]
    first = ["number", "state", "fitness", "epochs"]
    rest = [name for name in TRIALS if name not in first]
    own = configs[[name for name in configs.columns if name not in TRIALS]]
    return typed(pd.concat([frame[first], own, metrics, frame[rest]], axis=1), "trials")


def read_configs(store: Store) -> dict[int, dict[str, Any]]:
    """Every trial's config as it was, types and all."""
    return {
        number: json.loads(text)
        for batch in store.batches([trials.c.number, trials.c.config])
        for number, text in batch
    }
