"""How much room everything takes: tables and their indexes as PostgreSQL counts them, staged files as the disk does."""

from dataclasses import dataclass

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
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


@dataclass(frozen=True, slots=True)
class TableRoom:
    """A table with its partitions. `rows` is the estimate of the last ANALYZE."""

    name: str
    table_bytes: int
    index_bytes: int
    rows: int
    partitions: int


@dataclass(frozen=True, slots=True)
class StagingRoom:
    """Staged files: of one micro-batch each, and compacted ones."""

    files: int
    bytes: int
    compacted_files: int
    compacted_bytes: int
    compacted_micro_batches: int


def tables_room(database: Database) -> list[TableRoom]:
    """One entry a table, by name."""
    with database.connect() as connection:
        rows = connection.execute(_ROOM, {"tables": list(TABLES)}).all()
    return [TableRoom(row.name, row.table_bytes, row.index_bytes, row.rows, row.partitions) for row in rows]


def staging_room(staging: Staging) -> StagingRoom:
    """Looks at every file. Raises ObjectStoreError."""
    files = staging.files()
    compacted = [file for file in files if file.compacted]
    return StagingRoom(
        files=len(files) - len(compacted),
        bytes=sum(file.size_bytes for file in files if not file.compacted),
        compacted_files=len(compacted),
        compacted_bytes=sum(file.size_bytes for file in compacted),
        compacted_micro_batches=sum(len(file.micro_batches) for file in compacted),
    )


_ROOM = statement("sensor_platform.pipeline", "room")
