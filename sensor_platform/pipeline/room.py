"""How much room everything takes: tables and their indexes as PostgreSQL counts them, staged files as the disk does."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.pipeline.horizon import DAY, HOUR, MINUTE, RAW, gone_days
from sensor_platform.staging.store import Staging

#: What grows with the messages.
TABLES = (
    "metric",
    "metric_duplicate",
    "metrics_minute",
    "metrics_hourly",
    "metrics_daily",
    "ledger",
    "dead_letter",
    "dead_letter_message",
    "changed_bucket",
)
LEVEL_TABLES = {RAW: "metric", MINUTE: "metrics_minute", HOUR: "metrics_hourly", DAY: "metrics_daily"}


@dataclass(frozen=True, slots=True)
class TableRoom:
    """A table with its partitions. `rows` is the estimate of the last ANALYZE."""

    name: str
    table_bytes: int
    index_bytes: int
    rows: int
    partitions: int


@dataclass(frozen=True, slots=True)
class LevelRoom:
    """Readings, or a rollup. oldest: event time; days_gone: those in which rows are missing that retention deleted."""

    level: str
    rows: int
    bytes: int
    oldest: datetime | None
    days_gone: int


@dataclass(frozen=True, slots=True)
class StagingRoom:
    """Staged files: of one micro-batch each, and compacted ones."""

    files: int
    bytes: int
    compacted_files: int
    compacted_bytes: int


def tables_room(database: Database) -> list[TableRoom]:
    """One entry a table, by name."""
    with database.connect() as connection:
        rows = connection.execute(_ROOM, {"tables": list(TABLES)}).all()
    return [TableRoom(row.name, row.table_bytes, row.index_bytes, row.rows, row.partitions) for row in rows]


def levels_room(database: Database, tables: Sequence[TableRoom]) -> list[LevelRoom]:
    """One entry a level, readings first. `tables`: those of `tables_room`."""
    by_name = {table.name: table for table in tables}
    with database.connect() as connection:
        oldest = dict(connection.execute(_OLDEST).tuples().all())
        gone = gone_days(connection)
    return [
        LevelRoom(level, table.rows, table.table_bytes + table.index_bytes, oldest.get(level), gone.get(level, 0))
        for level, name in LEVEL_TABLES.items()
        for table in (by_name[name],)
    ]


def staging_room(staging: Staging) -> StagingRoom:
    """Asks for the size of every file, and opens none. Raises ObjectStoreError."""
    own = staging.files(compacted=False)
    compacted = [size_bytes for _, size_bytes in staging.compacted_sizes()]
    return StagingRoom(len(own), sum(file.size_bytes for file in own), len(compacted), sum(compacted))


_OLDEST = statement("sensor_platform.pipeline", "oldest")
_ROOM = statement("sensor_platform.pipeline", "room")
