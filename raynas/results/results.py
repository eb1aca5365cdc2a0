"""Results: what an experiment found, as dataframes. Works while it runs."""

import json
import math
import sqlite3
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from raynas.results import views
from raynas.results.database import Where
from raynas.results.schema import reports, trials
from raynas.results.store import Store
from raynas.tables import InputError, look_up

RULE = "best = highest fitness at the last epoch, among trials that trained to their end (all others only while there are none)"

COLUMNS = (
    "number", "state", "fitness", "epochs", "params", "flops", "memory_mb", "seconds", "attempt", "node", "duplicate_of",
    "failure", "error", "origin", "identity", "seed", "created", "started", "ended",
)  # fmt: skip
COUNTED = {"params": "Int64", "flops": "Int64", "memory_mb": "Float64"}
CURVE_COLUMNS = ("number", "epoch", "fitness", "seconds", "attempt")


class Results:
    """An experiment's store, read-only. Frames are read when first asked for; `refresh` reads again."""

    def __init__(self, path: Where):
        self.path = path

    def _read(self, table: Any) -> list[dict[str, Any]]:
        store = Store.open(self.path)
        try:
            return store.rows(table)
        finally:
            store.close()

    @cached_property
    def experiment(self) -> dict[str, Any]:
        """The experiment's row: name, spec, seed, data, fingerprints, …"""
        store = Store.open(self.path)
        try:
            return store.experiment()
        finally:
            store.close()

    @property
    def name(self) -> str:
        return str(self.experiment["name"])

    @property
    def folder(self) -> Path:
        """Where the experiment's files are."""
        return self.path.parent

    def refresh(self) -> "Results":
        """Forget what was read, so that the next look shows the store as it is now."""
        for name in ("experiment", "trials", "curves"):
            self.__dict__.pop(name, None)
        return self

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row a trial: the columns of COLUMNS, one a parameter of the space, one a metric of the last report.

        `fitness` is higher-is-better and missing for failed trials; `seconds` is training time; `created`, `started`
        and `ended` are UTC moments; `duplicate_of` is the trial whose result answered this one.
        """
        rows = self._read(trials)
        last = self.curves.drop_duplicates("number", keep="last").set_index("number")
        frame = pd.DataFrame({name: [row[name] for row in rows] for name in ("number", "state", "fitness")})
        answered_by = pd.Series([row["number"] if row["duplicate_of"] is None else row["duplicate_of"] for row in rows])
        frame["epochs"] = answered_by.map(last["epoch"]).astype("Int64")
        configs = pd.DataFrame([row["config"] for row in rows], index=frame.index)
        metrics = last.drop(columns=[name for name in CURVE_COLUMNS if name != "number"])
        metrics = metrics[[name for name in metrics.columns if name not in configs.columns and name not in COLUMNS]]
        costs = pd.DataFrame([row["cost"] or {} for row in rows], index=frame.index, columns=list(COUNTED))
        for name in set(COUNTED) & set(last.columns):  # a training of one's own reports them itself
            reported = pd.to_numeric(last[name], errors="coerce").reindex(answered_by).set_axis(frame.index)
            costs[name] = costs[name].where(costs[name].notna(), reported)
        frame = pd.concat(
            [frame, configs, metrics.reindex(answered_by).set_axis(frame.index), costs.astype(COUNTED)], axis=1
        )
        for name in ("seconds", "attempt", "node", "duplicate_of", "failure", "error", "identity", "seed"):
            frame[name] = [row[name] for row in rows]
        frame["duplicate_of"] = frame["duplicate_of"].astype("Int64")
        frame["origin"] = [json.dumps(row["origin"]) for row in rows]
        for name in ("created", "started", "ended"):
            frame[name] = pd.to_datetime([row[name] for row in rows], unit="s", utc=True)
        frame["fitness"] = frame["fitness"].astype("float64")
        return frame

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row a report: number, epoch, fitness, seconds, attempt and every metric reported."""
        rows = self._read(reports)
        names = {"number": "trial"}
        frame = pd.DataFrame({name: [row[names.get(name, name)] for row in rows] for name in CURVE_COLUMNS})
        metrics = pd.DataFrame([{k: _cell(v) for k, v in row["metrics"].items()} for row in rows], index=frame.index)
        return pd.concat([frame, metrics[[name for name in metrics.columns if name not in CURVE_COLUMNS]]], axis=1)

    def config(self, number: int) -> dict[str, Any]:
        """A trial's config as it was, types and all."""
        return dict(next(row["config"] for row in self._read(trials) if row["number"] == number))

    def best(self, k: int = 1) -> pd.DataFrame:
        """The k best trials, best first, by RULE; trials answered from another are left out."""
        frame = self.trials
        scored = frame[frame["fitness"].notna() & frame["duplicate_of"].isna() & (frame["state"] != "failed")]
        done = scored[scored["state"] == "done"]
        return (done if len(done) else scored).sort_values(["fitness", "number"], ascending=[False, True]).head(k)

    def generations(self) -> pd.DataFrame:
        """One row a generation: trials, judged (with a fitness), best, mean and worst fitness, best_trial, best_so_far."""
        return views.generations(self.trials)

    def lineage(self, number: int | None = None) -> pd.DataFrame:
        """The best trial (or the one numbered so) and all its ancestors, from generation 0 on, with the columns
        generation, operator and parents."""
        if number is None:
            top = self.best()
            if top.empty:
                raise InputError(f"'{self.name}' has no trial with a fitness yet")
            number = int(top["number"].iloc[0])
        return views.lineage(self.trials, number)

    def pareto(self, metrics: Mapping[str, str] | None = None) -> pd.DataFrame:
        """The trials that no other beats in every metric; `metrics` ({"val_accuracy": "max", "params": "min"}) are the
        objective's where not given. Early stopped trials count with what they reached."""
        return views.pareto(self.trials, self._goals(metrics))

    def hypervolume(
        self, metrics: Mapping[str, str] | None = None, reference: Mapping[str, float] | None = None
    ) -> float:
        """The volume that the Pareto front dominates, up to `reference` (one value a metric; default: the worst found)."""
        return views.hypervolume(self.trials, self._goals(metrics), reference)

    def _goals(self, metrics: Mapping[str, str] | None) -> dict[str, float]:
        return views.goals_of(self.experiment["spec"]["objective"], metrics)

    def plot(self, what: str, metrics: Mapping[str, str] | None = None) -> Any:
        """A plotly figure: "generations", "lineage" of the best, or "pareto"; `.show()` it or `.write_html(path)`."""
        from raynas.results.plots import PLOTS

        return look_up("plot", what, PLOTS)(self, metrics)

    @property
    def parameters(self) -> list[str]:
        """The parameters that vary in the space."""
        space = self.experiment["spec"]["space"]
        return [name for name, value in space.items() if isinstance(value, dict)]

    def sql(self, query: str) -> pd.DataFrame:
        """A SELECT over the tables `trials` and `curves` (as the frames of these names are)."""
        with sqlite3.connect(":memory:") as connection:
            for name, frame in (("trials", self.trials), ("curves", self.curves)):
                once = ~frame.columns.str.lower().duplicated()  # SQL does not tell Fitness from fitness
                frame.loc[:, once].to_sql(name, connection, index=False)
            connection.set_authorizer(_read_only)
            try:
                return pd.read_sql_query(query, connection)
            except (pd.errors.DatabaseError, sqlite3.Error, TypeError) as error:
                columns = ", ".join(self.trials.columns)
                raise InputError(
                    f"cannot run '{query}': {error.__cause__ or error}. Columns of trials: {columns}"
                ) from error

    def where(self, condition: str) -> pd.DataFrame:
        """The trials that meet an SQL condition, e.g. `fitness > 0.9 and lr < 0.001`, typed as `trials` is."""
        kept = self.sql(f"SELECT number FROM trials WHERE {condition}")["number"]
        return self.trials[self.trials["number"].isin(kept)]

    def failures(self) -> dict[str, int]:
        """How many trials failed, by kind."""
        return {str(kind): int(count) for kind, count in self.trials["failure"].value_counts().items()}

    def __repr__(self) -> str:
        states = ", ".join(f"{count} {state}" for state, count in self.trials["state"].value_counts().items())
        top = self.best()
        best = (
            f", best fitness {top['fitness'].iloc[0]:.4f}" if len(top) and math.isfinite(top["fitness"].iloc[0]) else ""
        )
        return f"Results('{self.name}': {states or 'no trials'}{best})"


def _cell(value: Any) -> Any:
    """A metric as one cell of a table: lists and mappings as JSON."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def _read_only(action: int, *_: Any) -> int:
    allowed = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
    return sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY
