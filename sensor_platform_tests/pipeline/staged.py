"""Micro-batches for tests, written as real files that the real staging area reads."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.process import process
from sensor_platform.pipeline.report import Report
from sensor_platform.routes.file import parse_routes
from sensor_platform.routes.model import Routes
from sensor_platform.settings import Settings
from sensor_platform.staging.format import SCHEMA, MicroBatch, stamp
from sensor_platform.staging.store import LocalStaging

HOUR = datetime(2026, 11, 23, 10, tzinfo=UTC)
TOPIC = "factory/press/sensors/p1/data"
ROUTES = "routes:\n  - {name: data, filter: 'factory/{work_unit}/sensors/{sensor}/data', format: json%s}\n"


def routes(options: str = "") -> Routes:
    """One JSON route; `options` such as ", text: true"."""
    return parse_routes(ROUTES % options)


@dataclass(frozen=True)
class Message:
    """One staged message. A payload that is not bytes is written as JSON."""

    payload: Any
    topic: str = TOPIC
    redelivery_of: int | None = None
    retain: bool = False
    user_properties: list[tuple[str, str]] | None = None

    @property
    def bytes(self) -> bytes:
        return self.payload if isinstance(self.payload, bytes) else json.dumps(self.payload).encode()


def value(number: Any, at: datetime | None = HOUR, **more: Any) -> Message:
    """A message with one reading of the metric `value`; `at` None: it has no time of its own."""
    timed = {} if at is None else {"timestamp": at.isoformat()}
    return Message({"value": number, **timed, **more})


def stage(
    staging: LocalStaging,
    name: str,
    messages: Sequence[Message],
    *,
    hour: datetime = HOUR,
    first_sequence: int = 1,
    received_at: datetime | None = None,
    groups: int = 1,
) -> MicroBatch:
    """Writes a sealed micro-batch, received second by second."""
    micro_batch = MicroBatch(hour, name)
    first = received_at or hour
    rows = [
        {
            "sequence": first_sequence + place,
            "received_at": first + timedelta(seconds=place),
            "topic": message.topic.encode(),
            "payload": message.bytes,
            "qos": 1,
            "retain": message.retain,
            "dup": message.redelivery_of is not None,
            "packet_id": place + 1,
            "connection": 1,
            "redelivery_of": message.redelivery_of,
            "user_properties": message.user_properties,
        }
        for place, message in enumerate(messages)
    ]
    write(staging, micro_batch, pa.RecordBatch.from_pylist(rows, schema=SCHEMA), groups=groups)
    return micro_batch


def write(staging: LocalStaging, micro_batch: MicroBatch, rows: pa.RecordBatch, *, groups: int = 1) -> None:
    path = staging.path(micro_batch)
    path.parent.mkdir(parents=True, exist_ok=True)
    size = max(1, -(-rows.num_rows // groups))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for start in range(0, rows.num_rows, size):
            # Serialised and read again, so that the crc is of the bytes that a reader will see.
            batch = pa.ipc.read_record_batch(rows.slice(start, size).serialize(), SCHEMA)
            writer.write_batch(batch, custom_metadata=stamp(batch, new_session=False))


def load(
    staging: LocalStaging,
    database: Database,
    *,
    mode: Mode = Mode.NEW,
    using: Routes | None = None,
    hour: datetime | None = None,
    run_id: str | None = None,
) -> Report:
    """`process` with the settings' defaults; `hour` restricts it to one."""
    hours = (None, None) if hour is None else (hour, hour + timedelta(hours=1))
    return process(staging, database, using or routes(), settings=Settings(), hours=hours, mode=mode, run_id=run_id)


def rows(database: Database, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """The rows of a query on our tables."""
    with database.connect() as connection:
        connection.execute(sa.text("SET search_path TO sensor_platform"))
        return [tuple(row) for row in connection.execute(sa.text(query), parameters)]


#: As `reading` shows it: '' beside a value is none.
TEXT = "CASE WHEN text <> '' OR value IS NULL THEN text END"


def in_metric(database: Database) -> list[tuple[Any, ...]]:
    """(value, text, sequence) of every standing reading, by time and received order."""
    return rows(database, f"SELECT value, {TEXT}, sequence FROM metric ORDER BY time, sequence, ordinal")


def new_staging(folder: Path) -> LocalStaging:
    return LocalStaging(folder / "staging")
