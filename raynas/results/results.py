"""Results: what an experiment found, as dataframes. Works while it runs."""

import math
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from raynas.results import columns, frames, views
from raynas.results.columns import CURVES, FRAMES, TRIALS
from raynas.results.compare import compare, rank_test
from raynas.results.database import Where
from raynas.results.importances import REPEATS, importances
from raynas.results.rungs import rungs
from raynas.results.store import Store
from raynas.space import read
from raynas.tables import InputError, look_up, nearest

RULE = "best = highest fitness at the last epoch, among trials that trained to their end (all others only while there are none)"

COLUMNS = tuple(TRIALS)
CURVE_COLUMNS = tuple(CURVES)


class Results:
    """An experiment's store, read-only. Frames are read when first asked for; `refresh` reads again. `row` is one of its
    verifications ("verify-1"), whose trials are then those that are shown."""

    def __init__(self, path: Where, row: str | None = None):
        self.path, self.row = path, row

    @contextmanager
    def _store(self) -> Iterator[Store]:
        store = Store.open(self.path, row=self.row)
        try:
            yield store
        finally:
            store.close()

    @cached_property
    def experiment(self) -> dict[str, Any]:
        """The experiment's row: name, spec, seed, data, fingerprints, …"""
        with self._store() as store:
            return store.experiment()

    @property
    def name(self) -> str:
        return str(self.experiment["name"])

    @property
    def stem(self) -> str:
        """The name as files begin with it: that of a verification has a slash."""
        return self.name.replace("/", "-")

    @property
    def folder(self) -> Path:
        """Where the experiment's files are."""
        return self.path.parent if self.row is None else self.path.parent / self.row

    @property
    def verification(self) -> "Results | None":
        """The trials of the latest `raynas verify`; None before the first."""
        from raynas.results.verdict import latest

        return latest(self.path)

    def verdict(self) -> Any:
        """What the latest `raynas verify` found, a Verdict: `.sentences()` says it; None before the first is over."""
        from raynas.results.verdict import read_verdict

        return read_verdict(self)

    def refresh(self) -> "Results":
        """Forget what was read, so that the next look shows the store as it is now."""
        for name in ("experiment", "trials", "curves", "_configs"):
            self.__dict__.pop(name, None)
        return self

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row a trial: the columns of COLUMNS, one a parameter of the space, one a metric of the last report.

        `fitness` is higher-is-better and missing for failed trials; `seconds` is training time; `created`, `started`
        and `ended` are UTC moments; `duplicate_of` is the trial whose result answered this one.
        """
        curves = self.curves
        with self._store() as store:
            return frames.read_trials(store, curves)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row a report: number, epoch, fitness, seconds, attempt and every metric reported."""
        with self._store() as store:
            return frames.read_curves(store)

    @cached_property
    def _configs(self) -> dict[int, dict[str, Any]]:
        with self._store() as store:
            return frames.read_configs(store)

    def config(self, number: int) -> dict[str, Any]:
        """A trial's config as it was, types and all."""
        if number not in self._configs:
            raise InputError(f"there is no trial {number}; trials are numbered 0 to {len(self._configs) - 1}")
        return dict(self._configs[number])

    def columns(self, frame: str = "trials") -> pd.DataFrame:
        """What the columns of a frame are: column, dtype, unit, meaning. "trials" and "curves" with the parameters and
        metrics of this experiment; the others as they always are."""
        look_up("frame", frame, FRAMES)
        shown = getattr(self, frame) if frame in ("trials", "curves") else pd.DataFrame(columns=list(FRAMES[frame]))
        return columns.describe(columns.typed(shown, frame), frame, self.experiment["spec"]["space"])

    def best(self, k: int = 1) -> pd.DataFrame:
        """The k best trials, best first, by RULE; trials answered from another are left out."""
        frame = self.trials
        scored = frame[frame["fitness"].notna() & frame["duplicate_of"].isna() & (frame["state"] != "failed")]
        done = scored[scored["state"] == "done"]
        return (done if len(done) else scored).sort_values(["fitness", "number"], ascending=[False, True]).head(k)

    def generations(self) -> pd.DataFrame:
        """One row a generation: trials, judged (with a fitness), best, mean and worst fitness, best_trial, best_so_far."""
        return views.generations(self.trials)

    def rungs(self) -> pd.DataFrame:
        """One row a rung (an epoch at which trials ended, or at which ASHA decides): how many reached it, were stopped,
        failed or done there, and the best and median fitness there."""
        return rungs(self.trials, self.curves, self.experiment["spec"].get("stop") or {})

    def importances(self, repeats: int = REPEATS, costs: bool = False) -> pd.DataFrame:
        """How much of the variance of fitness each decision explains alone (fANOVA), architectures by their genes: mean and
        spread over `repeats` resamplings. All trials are judged at one epoch, which half of them reached. `costs` puts the
        number of parameters beside the decisions, which then share what they explain with it."""
        space = read(self.experiment["spec"]["space"])
        return importances(space, self._configs, self.trials, self.curves, repeats, costs)

    def compare(self, *others: "Results") -> pd.DataFrame:
        """The best so far of this and other experiments, one row a trial that ended: against trials, seconds, CPU-hours and
        GPU-hours. Raises InputError where their fitness is not of the same thing."""
        return compare((self, *others))

    def rank_test(self, *others: "Results", by: str = "search") -> pd.DataFrame:
        """Whether one kind of search was better than another over several seeds each (Mann-Whitney), after as many trials as
        the shortest of them had. `by` names what tells the groups apart: search, stop, space, …"""
        return rank_test((self, *others), by)

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
        """A plotly figure, one of PLOTS (results/plots): "best_so_far", "curves", "rungs", "generations", "lineage" of the best,
        "pareto", "parallel", "importances" or "timeline"; `.show()` it or `.write_html(path)`."""
        from raynas.results.plots import PLOTS

        return look_up("plot", what, PLOTS)(self, metrics)

    def draw(self, number: int | None = None) -> str:
        """The network of the best trial (or of the one numbered so) as a drawing: the text of an SVG file."""
        from raynas.results.drawing import draw_trial

        return draw_trial(self, number)

    @property
    def parameters(self) -> list[str]:
        """The parameters that vary in the space."""
        space = self.experiment["spec"]["space"]
        return [name for name, value in space.items() if isinstance(value, dict)]

    def sql(self, query: str) -> pd.DataFrame:
        """A SELECT over the tables `trials` and `curves` (as the frames of these names are)."""
        with closing(sqlite3.connect(":memory:")) as connection:
            for name in ("trials", "curves"):
                if name in query.lower():  # half a million reports take seconds to copy
                    frame = getattr(self, name)
                    once = ~frame.columns.str.lower().duplicated()  # SQL does not tell Fitness from fitness
                    frame.loc[:, once].to_sql(name, connection, index=False)
            connection.set_authorizer(_read_only)
            try:
                return pd.read_sql_query(query, connection)
            except (pd.errors.DatabaseError, sqlite3.Error, TypeError) as error:
                raise InputError(f"cannot run '{query}': {self._why(error.__cause__ or error)}") from error

    def _why(self, error: BaseException) -> str:
        """What SQLite says, and the nearest right name where a name is wrong."""
        wrong = re.match(r"no such column: (?:\w+\.)?(.+)", str(error))
        known = list(dict.fromkeys([*self.trials.columns, *self.curves.columns]))
        if wrong is None:
            return f"{error}. Columns of trials: {', '.join(self.trials.columns)}"
        return f"unknown column '{wrong[1]}'.{nearest(wrong[1], known)} Columns of trials: {', '.join(self.trials.columns)}"

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


def _read_only(action: int, *_: Any) -> int:
    allowed = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
    return sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY
