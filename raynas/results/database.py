"""Where a store is: a file of its own, or an experiment's rows in a PostgreSQL database that holds many."""

import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, inspect, select, text
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.schema import CreateSchema

from raynas.results.schema import SCHEMA, experiments, metadata, versions
from raynas.tables import InputError

LOCKS = (
    0x7261796E  # "rayn": the first half of raynas's advisory locks; the second is the experiment's id, 0 the tables'
)
ANSWER_S = 5
OWN_DISKS = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay", "rootfs", "apfs", "hfs")
# the schema of raynas's tables in PostgreSQL: Optuna and MLflow have `trials` and `experiments` too, and of a user named
# raynas they would find a schema of that name first
TABLES = "raynas_store"
# asked for on both sides: a machine that is gone lets go of its lock, and a server that is gone is missed, within a minute and
# not within the hours of TCP's defaults (https://www.postgresql.org/docs/current/libpq-connect.html)
ALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
SESSION = " ".join([f"-c search_path={TABLES}", *(f"-c tcp_{name}={value}" for name, value in ALIVE.items())])


@dataclass(frozen=True)
class InDatabase:
    """The experiment `name` in a database; `parent` is the folder of its other files, as a store file's parent is."""

    url: URL
    name: str
    parent: Path

    def __str__(self) -> str:
        return f"{shown(self.url)} ({self.name})"

    def resolve(self) -> "InDatabase":
        """Itself: its name is whole, as that of a file is after Path.resolve."""
        return self


Where = Path | InDatabase


class StoreError(InputError):
    """The store cannot be read or written."""


def shown(url: URL) -> str:
    """A store's URL without its password, as it may be printed and handed on."""
    query = {key: value for key, value in url.query.items() if "password" not in key}
    return URL.create("postgresql", url.username, None, url.host, url.port, url.database, query).render_as_string()


def database(given: str | URL) -> URL:
    """The URL of a PostgreSQL database, `postgresql://USER@HOST:PORT/NAME`."""
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        without = re.sub(r"//[^@/]*@", "//…@", str(given))  # what may be a password is not shown
        raise InputError(f"a store is named like postgresql://USER@HOST/DATABASE, got '{without}'") from None
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise InputError(
            f"a store by URL is in PostgreSQL, postgresql://USER@HOST/DATABASE, got '{url.drivername}://…'; SQLite needs "
            "none, it is a file in the experiment's folder"
        )
    return url.set(drivername="postgresql+psycopg")


def database_of(where: Where) -> URL | None:
    """The database that a store is in; None for a file."""
    return where.url if isinstance(where, InDatabase) else None


def engine_of(where: Where | URL, writable: bool, dump: Callable[[Any], str]) -> Engine:
    """The engine behind a store; one that only reads cannot write."""
    if isinstance(where, Path):
        return _sqlite(where, writable, dump)
    url = where.url if isinstance(where, InDatabase) else where
    options = f"{SESSION} {'' if writable else '-c default_transaction_read_only=on'}"
    try:
        answers = {"connect_timeout": ANSWER_S, "options": options.strip(), **ALIVE, "tcp_user_timeout": 60_000}
        return create_engine(url, json_serializer=dump, connect_args=answers)
    except ModuleNotFoundError as error:
        raise InputError(f"a store in PostgreSQL needs psycopg: pip install 'raynas[postgres]' ({error})") from None


def _sqlite(path: Path, writable: bool, dump: Callable[[Any], str]) -> Engine:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=30) if writable else connect_to_read(path)

    engine = create_engine("sqlite://", creator=connect, json_serializer=dump)
    if writable:
        journal = "WAL" if on_own_disk(path) else "DELETE"

        @event.listens_for(engine, "connect")
        def _(connection: sqlite3.Connection, _: Any) -> None:
            connection.execute(f"PRAGMA journal_mode={journal}")
            connection.execute(
                "PRAGMA synchronous=NORMAL"
            )  # a commit survives the process; `tell` makes it survive a power cut

    return engine


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. What a killed driver left half done is undone first, which SQLite does not do for readers."""
    journal = path.with_name(f"{path.name}-journal")
    if journal.exists() and os.access(path, os.W_OK):
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)


def on_own_disk(path: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Whether a file is on a disk of this machine. Where other machines read it too, SQLite's write-ahead log does not do: its
    index lies in memory that they would have to share (https://sqlite.org/wal.html). True where the system has no list of mounts."""
    try:
        listed = [line.split() for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return True
    place = path.resolve()
    over = [(Path(where.replace("\\040", " ")), kind) for _, where, kind, *_ in listed]
    holding = [
        (len(where.parts), number, kind) for number, (where, kind) in enumerate(over) if place.is_relative_to(where)
    ]
    return not holding or max(holding)[-1] in OWN_DISKS


def why(error: DatabaseError) -> str:
    """What the database said, on one line."""
    return " ".join(str(error.orig).split())


def make_tables(connection: Connection) -> None:
    """The tables of a database that has none, or lacks the younger ones; one driver at a time makes them."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:locks, 0)"), {"locks": LOCKS})
    if not inspect(connection).has_schema(TABLES):  # asked first: who may use one may not make one
        connection.execute(CreateSchema(TABLES))
    there = inspect(connection).has_table(versions.name)
    metadata.create_all(connection)
    if not there:
        connection.execute(versions.insert().values(schema=SCHEMA))


def take(connection: Connection, experiment_id: int) -> bool:
    """Make this connection the one driver of an experiment, until it ends, however it does; False when there is another."""
    wanted = text("SELECT pg_try_advisory_lock(:locks, :id)")
    with connection.begin():
        return bool(connection.execute(wanted, {"locks": LOCKS, "id": experiment_id}).scalar_one())


def check_schema(connection: Connection, where: str) -> None:
    """Raise StoreError where there are no tables of raynas, or those of a newer one."""
    if not inspect(connection).has_table(versions.name):
        raise StoreError(f"'{where}' is not a raynas store")
    schema = connection.execute(select(versions.c.schema)).scalar_one()
    if schema > SCHEMA:
        raise StoreError(
            f"'{where}' was written by a newer raynas (schema {schema}, this one reads up to {SCHEMA}); "
            "upgrade raynas to open it"
        )


def names_in(url: URL) -> list[str]:
    """The experiments in a database, in alphabetical order; none where it has no tables yet."""
    engine = engine_of(url, writable=False, dump=str)
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table(versions.name):
                return []
            check_schema(connection, shown(url))
            return sorted(name for name in connection.execute(select(experiments.c.name)).scalars() if "/" not in name)
    except DatabaseError as error:
        raise StoreError(f"cannot read the store '{shown(url)}': {why(error)}") from error
    finally:
        engine.dispose()
