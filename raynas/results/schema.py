"""The tables of the store. A change that older code cannot read raises SCHEMA."""

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

SCHEMA = 2  # since 2 a file may hold a search and its verifications

metadata = MetaData()

versions = Table("raynas", metadata, Column("schema", Integer, nullable=False))

experiments = Table(
    "experiments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("spec", JSON, nullable=False),  # the Experiment, its space resolved
    Column("seed", Integer, nullable=False),
    Column("data", JSON),  # name, digest and split of the data
    Column("fingerprints", JSON),  # code and environment
    Column("created", Float, nullable=False),  # seconds since 1970, as all moments
    Column("elapsed_s", Float, nullable=False, default=0.0),  # driver time over all sessions
    Column("ended", Text),  # why the last session ended; null while one runs or after a kill
)

trials = Table(
    "trials",
    metadata,
    Column("experiment", ForeignKey("experiments.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("config", JSON, nullable=False),
    Column("identity", String(16), nullable=False),
    Column("state", String(8), nullable=False),
    Column("failure", String(8)),
    Column("error", Text),
    Column("fitness", Float),
    Column("origin", JSON, nullable=False),
    Column("duplicate_of", Integer),
    Column("seed", Integer, nullable=False),
    Column("resources", JSON),
    Column("cost", JSON),
    Column("node", String(200)),
    Column("attempt", Integer, nullable=False),
    Column("asked", Integer, nullable=False),  # running sequence number of the ask
    Column("told", Integer),  # running sequence number of the tell; null until it ended
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("ended", Float),
    Column("seconds", Float, nullable=False, default=0.0),  # spent training, all attempts
)

reports = Table(
    "reports",
    metadata,
    Column("experiment", ForeignKey("experiments.id"), primary_key=True),
    Column("heard", Integer, primary_key=True),  # running sequence number
    Column("trial", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("fitness", Float, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("seconds", Float, nullable=False),  # spent on this epoch
    Index("one_report_an_epoch", "experiment", "trial", "epoch", unique=True),
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("experiment", ForeignKey("experiments.id"), primary_key=True),  # the verification
    Column("made", Float, nullable=False),
    Column("verdict", JSON, nullable=False),
)
