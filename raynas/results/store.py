"""The store: what an experiment remembers. Written by the driver alone; readers open it read-only."""

import json
import math
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Connection,
    RootTransaction,
    Text,
    cast,
    delete,
    func,
    insert,
    inspect,
    select,
    type_coerce,
    update,
)
from sqlalchemy.exc import DatabaseError, IntegrityError

from raynas.objectives import Trial
from raynas.results.database import InDatabase, StoreError, Where, check_schema, engine_of, make_tables, take, why
from raynas.results.schema import SCHEMA, experiments, metadata, reports, trials, verdicts, versions

PATIENCE_S = 120.0  # for a database that has gone away: its server lets go of a lost driver's lock within a minute
BATCH = 250  # rows of a read: more do not fit the processor's cache and take longer


def plain(value: Any) -> Any:
    """`value` as JSON knows it: numpy numbers unwrapped, NaN and infinities null, unknown things as text."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | str | int) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    for unwrap in ("item", "__float__"):  # of numpy and torch scalars, and of other numbers
        with suppress(AttributeError, TypeError, ValueError, RuntimeError):
            return plain(getattr(value, unwrap)())
    return str(value)


def _dump(value: Any) -> str:
    return json.dumps(plain(value), separators=(",", ":"))


def _text(value: str | None) -> str | None:
    """Text that every database takes: PostgreSQL's has no NUL."""
    return None if value is None else value.replace("\0", "\\0")


@dataclass(frozen=True)
class Asked:
    """A trial as it was asked for."""

    seq: int
    trial: Trial


@dataclass(frozen=True)
class Heard:
    """A report, in its place among asks and tells."""

    seq: int
    number: int
    epoch: int
    fitness: float
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Told:
    """A trial as the searcher heard of its end."""

    seq: int
    trial: Trial


class Store:
    """One experiment's rows, in a file or in a database. `Store.create` for a new one, `Store.open` for one that exists.
    Beside the search there may be its verifications, experiments called NAME/verify-1, …: `Store.open(path, row="verify-1")`."""

    def __init__(self, path: Where, writable: bool):
        self.path, self.writable, self._engine = path, writable, engine_of(path, writable, _dump)
        self._connection: Connection | None = None
        self._held: list[Any] = []  # statements that go first into the next transaction
        self.broken: StoreError | None = None  # the first write that failed, e.g. on a full disk
        self._latest: int | None = None  # the last event that this driver knows of
        self.experiment_id = 0

    @classmethod
    def create(cls, path: Where, row: dict[str, Any]) -> "Store":
        """A new store with its experiment's row: all of it or nothing. Raises FileExistsError where a database has an
        experiment of this name."""
        if isinstance(path, InDatabase):
            return cls._create_in_database(path, row)
        scratch = path.parent / ".new"
        try:
            shutil.rmtree(scratch, ignore_errors=True)  # of a driver killed right here
            scratch.mkdir(parents=True)
            store = cls(scratch / path.name, writable=True)
            with store.writing() as connection:
                metadata.create_all(connection)
                connection.execute(insert(versions).values(schema=SCHEMA))
                connection.execute(insert(experiments).values(created=time.time(), elapsed_s=0.0, **row))
            store.close()  # folds SQLite's log into the file
            (scratch / path.name).rename(path)
        except (OSError, StoreError) as error:
            raise StoreError(f"cannot write the store '{path}': {error}") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            with suppress(OSError):
                path.parent.rmdir()  # only when nothing is in it
        return cls.open(path, writable=True)

    @classmethod
    def _create_in_database(cls, where: InDatabase, row: dict[str, Any]) -> "Store":
        store = cls(where, writable=True)
        try:
            with store.writing() as connection:
                make_tables(connection)
                check_schema(connection, str(where))
                connection.execute(insert(experiments).values(created=time.time(), elapsed_s=0.0, **row))
        except StoreError as error:
            if isinstance(error.__cause__, IntegrityError):
                raise FileExistsError(str(where)) from error
            raise
        finally:
            store.close()
        return cls.open(where, writable=True)

    @classmethod
    def open(cls, path: Where, writable: bool = False, row: str | None = None) -> "Store":
        """The store at `path`, of its search or of the verification `row`; raises StoreError when it is none, damaged, of
        a newer raynas, or has no such row."""
        if isinstance(path, Path) and not path.is_file():
            raise StoreError(f"there is no store at '{path}'")
        store = cls(path, writable)
        try:
            with store._engine.connect() as connection:
                check_schema(connection, str(path))
                wanted = select(experiments.c.id).order_by(experiments.c.id).limit(1)
                if isinstance(path, InDatabase):
                    wanted = wanted.where(experiments.c.name == (path.name if row is None else f"{path.name}/{row}"))
                elif row is not None:
                    wanted = wanted.where(experiments.c.name.endswith(f"/{row}", autoescape=True))
                found = connection.execute(wanted).scalar_one_or_none()
                if found is None:
                    raise StoreError(f"'{path}' holds no {'experiment' if row is None else repr(row)}")
                store.experiment_id = found
            if writable and isinstance(path, InDatabase):
                store._connected()  # the lock is held by the connection that writes: who loses the one has lost the other
        except DatabaseError as error:
            store._engine.dispose()
            raise StoreError(f"cannot read the store '{path}': {why(error)}") from error
        except StoreError:
            store.close()
            raise
        return store

    def close(self) -> None:
        if self._held and self.broken is None:
            with self.writing():
                pass
        if self._connection is not None:
            if isinstance(self.path, Path):
                driver: Any = self._connection.connection.dbapi_connection
                with suppress(sqlite3.Error):  # one plain file that also those can read who cannot write beside it
                    driver.execute("PRAGMA journal_mode=DELETE")
            self._connection.close()
            self._connection = None
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: committed and on disk when the block ends."""
        try:
            connection, transaction = self._begin()
            with transaction:
                held, self._held = self._held, []
                for statement in held:
                    connection.execute(statement)
                yield connection
        except DatabaseError as error:
            self.broken = self.broken or StoreError(f"cannot write the store '{self.path}': {why(error)}")
            raise self.broken from error
        except StoreError as error:  # the lock is another's by now
            self.broken = self.broken or error
            raise

    def _begin(self) -> tuple[Connection, RootTransaction]:
        """A transaction. Where a database has gone away since the last one it is waited for, and so is the lock: its server
        may hold that of the lost connection for a while."""
        until: float | None = None
        while True:
            try:
                connection = self._connected()
                transaction = connection.begin()
                if isinstance(self.path, InDatabase):
                    connection.execute(select(1))
                return connection, transaction
            except (DatabaseError, StoreError) as error:
                until = until or time.monotonic() + PATIENCE_S
                if not self._lockable or time.monotonic() > until or error is self.broken:
                    raise
                self._let_go()
                time.sleep(1.0)

    @property
    def _lockable(self) -> bool:
        """Whether it writes to an experiment of a database, which one driver at a time does."""
        return isinstance(self.path, InDatabase) and self.writable and self.experiment_id > 0

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
            if self._lockable:
                if not take(self._connection, self.experiment_id):
                    raise StoreError(f"experiment '{self.path.name}' is running in another process")
                self._check_alone(self._connection)
        return self._connection

    def _check_alone(self, connection: Connection) -> None:
        """Raise StoreError where another driver has gone on with the experiment while this one was cut off."""
        own = trials.c.experiment == self.experiment_id
        newest = select(func.greatest(func.max(trials.c.asked), func.max(trials.c.told))).where(own)
        with connection.begin():
            latest = max(
                connection.execute(newest).scalar_one() or 0,
                connection.execute(
                    select(func.max(reports.c.heard)).where(reports.c.experiment == self.experiment_id)
                ).scalar_one()
                or 0,
            )
        if self._latest is not None and latest > self._latest:
            self.broken = StoreError(
                f"experiment '{self.path}' was gone on with by another process, while this one was cut off"
            )
            raise self.broken
        self._latest = max(latest, self._latest or 0)

    def _let_go(self) -> None:
        """Of a connection that may be broken."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    # -- the experiment's row --------------------------------------------------------------------------------------

    def experiment(self) -> dict[str, Any]:
        """The experiment's row as a dict."""
        with self._engine.connect() as connection:
            row = connection.execute(select(experiments).where(experiments.c.id == self.experiment_id)).one()
        return dict(row._mapping)

    def update_experiment(self, **values: Any) -> None:
        with self.writing() as connection:
            connection.execute(update(experiments).where(experiments.c.id == self.experiment_id).values(**values))

    # -- verifications of the search -------------------------------------------------------------------------------

    def add(self, row: str, values: dict[str, Any]) -> None:
        """A verification's row, called `row`, beside the search's."""
        name = f"{self.experiment()['name']}/{row}"
        with self.writing() as connection:
            metadata.create_all(connection)  # tables that are younger than the file
            connection.execute(update(versions).values(schema=SCHEMA))
            connection.execute(insert(experiments).values(created=time.time(), elapsed_s=0.0, name=name, **values))

    def others(self) -> list[str]:
        """The verifications' rows, oldest first: "verify-1", …"""
        wanted = select(experiments.c.name).order_by(experiments.c.id)
        if isinstance(self.path, InDatabase):
            wanted = wanted.where(experiments.c.name.startswith(f"{self.path.name}/", autoescape=True))
        with self._engine.connect() as connection:
            found = connection.execute(wanted).scalars().all()
        return [name.rpartition("/")[2] for name in found if "/" in name]

    def conclude(self, verdict: dict[str, Any]) -> None:
        """Write what came of this verification, in place of what was written before."""
        with self.writing() as connection:
            connection.execute(delete(verdicts).where(verdicts.c.experiment == self.experiment_id))
            connection.execute(
                insert(verdicts).values(experiment=self.experiment_id, made=time.time(), verdict=verdict)
            )

    def verdict(self) -> dict[str, Any] | None:
        """What came of this verification; None until it is over."""
        with self._engine.connect() as connection:
            if not inspect(connection).has_table(verdicts.name):
                return None
            wanted = select(verdicts.c.verdict).where(verdicts.c.experiment == self.experiment_id)
            return connection.execute(wanted).scalar_one_or_none()

    # -- writing trials ------------------------------------------------------------------------------------------------

    def ask(self, trial: Trial, seq: int, resources: dict[str, float], told: int | None = None) -> None:
        """A new trial, before it runs; one that is over with it (refused) has the number of its tell, `told`."""
        self._latest = told or seq
        with self.writing() as connection:
            connection.execute(
                insert(trials).values(
                    experiment=self.experiment_id,
                    number=trial.number,
                    config=trial.config,
                    identity=trial.identity,
                    state=trial.state,
                    origin=trial.origin,
                    duplicate_of=trial.duplicate_of,
                    seed=trial.seed,
                    resources=resources,
                    cost=trial.cost or None,
                    attempt=trial.attempt,
                    asked=seq,
                    told=told,
                    error=_text(trial.error),
                    created=time.time(),
                    started=time.time() if trial.state == "running" else None,
                    ended=None if told is None else time.time(),
                    seconds=0.0,
                )
            )

    def set_trial(self, number: int, **values: Any) -> None:
        with self.writing() as connection:
            connection.execute(self._row(number).values(**values))

    def hear(self, heard: Heard, attempt: int, seconds: float, node: str, last: bool = False) -> None:
        """One report, and the trial's fitness with it; a `last` one is written with what follows at once, its end."""
        self._latest = heard.seq
        report = insert(reports).values(
            experiment=self.experiment_id,
            heard=heard.seq,
            trial=heard.number,
            attempt=attempt,
            epoch=heard.epoch,
            fitness=heard.fitness,
            metrics=heard.metrics,
            seconds=seconds,
        )
        spent = self._row(heard.number).values(node=node, fitness=heard.fitness, seconds=trials.c.seconds + seconds)
        self._held += [report, spent]
        if not last:
            with self.writing():
                pass

    def tell(self, trial: Trial, seq: int, elapsed_s: float) -> None:
        """The end of a trial and all before it, and the driver's time so far: on disk, power cut or not, when this returns."""
        self._latest = seq
        self._synchronous("FULL")
        ended = self._row(trial.number).values(
            state=trial.state,
            failure=trial.failure,
            error=_text(trial.error),
            fitness=trial.fitness,
            told=seq,
            ended=time.time(),
        )
        with self.writing() as connection:
            connection.execute(ended)
            connection.execute(
                update(experiments).where(experiments.c.id == self.experiment_id).values(elapsed_s=elapsed_s)
            )
        self._synchronous("NORMAL")

    def _synchronous(self, level: str) -> None:
        if self._connection is not None and isinstance(self.path, Path):  # PostgreSQL's commits are on disk always
            driver: Any = (
                self._connection.connection.dbapi_connection
            )  # outside of any transaction, or SQLite ignores it
            driver.execute(f"PRAGMA synchronous={level}")

    def _row(self, number: int) -> Any:
        return update(trials).where(trials.c.experiment == self.experiment_id, trials.c.number == number)

    # -- reading -------------------------------------------------------------------------------------------------------

    def rows(self, table: Any) -> list[dict[str, Any]]:
        """All rows of a table of this experiment, in order."""
        with self._engine.connect() as connection:
            order = trials.c.number if table is trials else reports.c.heard
            found = connection.execute(select(table).where(table.c.experiment == self.experiment_id).order_by(order))
            return [dict(row) for row in found.mappings()]

    def batches(self, columns: Sequence[Any]) -> Iterator[list[tuple[Any, ...]]]:
        """The same columns of all rows of this experiment, in order, BATCH rows at a time; JSON as the text that it is.
        The driver's own tuples: SQLAlchemy's rows and its reading of JSON take longer than all the rest."""
        table = columns[0].table
        order = trials.c.number if table is trials else reports.c.heard
        as_text = (
            type_coerce if isinstance(self.path, Path) else cast
        )  # PostgreSQL's driver reads JSON unless it is text there
        raw = [as_text(column, Text) if isinstance(column.type, JSON) else column for column in columns]
        query = select(*raw).where(table.c.experiment == self.experiment_id).order_by(order)
        text = str(query.compile(self._engine, compile_kwargs={"literal_binds": True}))
        with self._engine.connect() as connection:
            driver: Any = connection.connection.dbapi_connection
            cursor = driver.execute(text)
            while batch := cursor.fetchmany(BATCH):
                yield batch

    def counts(self) -> dict[str, int]:
        """How many trials there are of each state."""
        with self._engine.connect() as connection:
            found = connection.execute(
                select(trials.c.state, func.count())
                .where(trials.c.experiment == self.experiment_id)
                .group_by(trials.c.state)
            )
            return dict(found.tuples().all())

    def history(self) -> list[Asked | Heard | Told]:
        """Everything that happened, in the order in which it did: what resume replays.

        The trial of an Asked is the one that later entries speak of; it has its reports and, once told, its end.
        """
        events: list[Asked | Heard | Told] = []
        found: dict[int, Trial] = {}
        for row in self.rows(trials):
            fields = ("number", "config", "identity", "seed", "attempt", "origin", "duplicate_of")
            made = Trial(**{name: row[name] for name in fields}, cost=row["cost"] or {})
            trial = found[row["number"]] = made
            events.append(Asked(row["asked"], trial))
            if row["told"] is not None:
                for name in ("state", "failure", "error", "fitness"):
                    setattr(trial, name, row[name])
                events.append(Told(row["told"], trial))
        for row in self.rows(reports):
            heard = Heard(row["heard"], row["trial"], row["epoch"], row["fitness"], row["metrics"])
            trial = found[heard.number]
            trial.curve.append((heard.epoch, heard.fitness))
            trial.metrics = heard.metrics
            if trial.state == "queued":
                trial.fitness = heard.fitness
            events.append(heard)
        return sorted(events, key=lambda entry: entry.seq)
