"""How much room a staged message takes, before and after compaction, and a reading in table and indexes.

`python -m benchmarks.storage [--json] [--messages 500000] [--quick]`. Payloads are 150 bytes of JSON: *publisher* are
those of the benchmark of the collector (one topic, numbers that count up), *plant* those of the benchmark of the
pipeline (200 topics, two metrics), *noisy* have 200 topics in no order, times that jitter, values of which no digit
repeats and a random id: the worst of a plant. Micro-batches have as many messages as 500 messages/s and the default
interval make. The readings are those of *plant*, of three times as many messages, loaded by the pipeline.
"""

import json
import logging
import random
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa

from benchmarks.machine import machine
from benchmarks.pipeline import ROUTES
from benchmarks.plant import FIRST_RECEIVED, METRICS, PAYLOAD_BYTES, SENSORS, Plant, payload
from benchmarks.publisher import PACKET_IDS, TOPIC, published_payload
from sensor_platform.database.engine import Database
from sensor_platform.database.migrate import upgrade
from sensor_platform.embedded.postgres import EmbeddedPostgres
from sensor_platform.log import set_up_logging
from sensor_platform.pipeline.process import process
from sensor_platform.pipeline.room import tables_room
from sensor_platform.routes.file import parse_routes
from sensor_platform.settings import Settings
from sensor_platform.staging.compaction import compact_hour
from sensor_platform.staging.format import EPOCH, Group, MicroBatch, file_name, hour_of, to_batch
from sensor_platform.staging.open_file import OpenFile
from sensor_platform.staging.store import LocalStaging

MESSAGES_PER_S = 500
MICRO_BATCH_MESSAGES = 1_000
GROUP_MESSAGES = 5  # what a collector reads at once at such a rate
#: Pages of the index that are not full yet, one or two a series, are a tenth of a table of a million readings.
LOADED_OF_STAGED = 3
#: Figure -> its greatest value.
TARGETS = {"bytes_per_staged_message": 40, "bytes_per_reading": 100}

#: Number of a message -> (topic, payload)
Messages = Callable[[int], tuple[bytes, bytes]]


def noisy(number: int) -> tuple[bytes, bytes]:
    chance = random.Random(number)
    at = FIRST_RECEIVED + timedelta(seconds=number / MESSAGES_PER_S + chance.uniform(0, 0.2))
    document = {"timestamp": at.isoformat(), "value": round(chance.gauss(800, 20), 6), "unit": "kN", "quality": "good"}
    sensor = chance.randrange(SENSORS)
    return b"factory/line-%d/sensors/press-%d/data" % (sensor % 10, sensor), (
        json.dumps({**document, "id": f"{chance.getrandbits(32):08x}"}).encode().ljust(PAYLOAD_BYTES)
    )


KINDS: dict[str, Messages] = {
    "publisher": lambda n: (TOPIC.encode(), published_payload(n % PACKET_IDS, PAYLOAD_BYTES)),
    "plant": lambda n: (b"factory/bench/sensors/press-%d/data" % (n % SENSORS), payload(n)),
    "noisy": noisy,
}


def staged(kind: Messages, messages: int, folder: Path) -> dict[str, Any]:
    """Bytes a message before and after the compaction of one hour, and how long that took."""
    staging = LocalStaging(folder)
    names = [_write(staging, kind, first) for first in range(0, messages, MICRO_BATCH_MESSAGES)]
    began_s = time.perf_counter()
    done = compact_hour(staging, hour_of(_received_us(0)), names)
    took_s = time.perf_counter() - began_s
    return {
        "before": round(done.bytes_before / done.messages, 1),
        "after": round(done.bytes_after / done.messages, 1),
        "messages_per_s": round(done.messages / took_s),
    }


def _write(staging: LocalStaging, kind: Messages, first: int) -> str:
    name = file_name("bench", "0" * 8, first // MICRO_BATCH_MESSAGES)
    path = staging.path(MicroBatch(hour_of(_received_us(0)), name))
    path.parent.mkdir(parents=True, exist_ok=True)
    file = OpenFile(path, {"format_version": "1"})
    for start in range(first, first + MICRO_BATCH_MESSAGES, GROUP_MESSAGES):
        numbers = range(start, start + GROUP_MESSAGES)
        topics, payloads = zip(*map(kind, numbers), strict=True)
        ids = [number % PACKET_IDS + 1 for number in numbers]
        group = Group(b"\x32" * GROUP_MESSAGES, topics, payloads, ids, connection=1)
        file.write(to_batch(group, first_sequence=start, received_at_us=_received_us(start)))
    file.finish()
    return name


def _received_us(number: int) -> int:
    return (FIRST_RECEIVED - EPOCH) // timedelta(microseconds=1) + number * 1_000_000 // MESSAGES_PER_S


def loaded(messages: int, folder: Path) -> dict[str, Any]:
    """Bytes a reading, by table and index, after a load of messages of two readings."""
    folder.mkdir()
    with EmbeddedPostgres(folder) as server, Database(server.url) as database:
        upgrade(database)
        staging = LocalStaging(folder / "staging")
        Plant(0, messages).stage(staging, micro_batch_messages=MICRO_BATCH_MESSAGES)
        report = process(staging, database, parse_routes(ROUTES), settings=Settings())
        readings = report.readings.inserted
        (metric,) = [table for table in tables_room(database) if table.name == "metric"]
        with database.connect() as connection:
            indexes = {row.kind: row.bytes for row in connection.execute(sa.text(INDEXES))}
            row_bytes = float(connection.execute(sa.text(ROW)).scalar_one())
            ledger_bytes = connection.execute(sa.text(LEDGER)).scalar_one()
    return {
        "readings": readings,
        "per_reading": round((metric.table_bytes + metric.index_bytes) / readings, 1),
        "table": round(metric.table_bytes / readings, 1),
        "row": round(row_bytes, 1),
        "indexes": {kind: round(size / readings, 2) for kind, size in indexes.items()},
        "ledger_per_micro_batch": round(ledger_bytes / report.micro_batches),
    }


#: The tree on (series, time), and the BRINs on micro_batch and on time.
INDEXES = """
SELECT access.amname AS kind, CAST(sum(pg_relation_size(index.oid)) AS bigint) AS bytes
FROM pg_inherits
JOIN pg_index ON pg_index.indrelid = pg_inherits.inhrelid
JOIN pg_class AS index ON index.oid = pg_index.indexrelid
JOIN pg_am AS access ON access.oid = index.relam
WHERE pg_inherits.inhparent = CAST('sensor_platform.metric' AS regclass)
GROUP BY access.amname
"""
#: The columns of a row with their alignment; before them stand 24 bytes of header and 4 of a pointer.
ROW = "SELECT avg(pg_column_size(row.*)) FROM (SELECT * FROM sensor_platform.metric LIMIT 1000) AS row"
LEDGER = "SELECT pg_total_relation_size('sensor_platform.ledger')"


def measure(messages: int, folder: Path) -> dict[str, Any]:
    """The report as JSON has it."""
    compacted = {kind: staged(made, messages, folder / kind) for kind, made in KINDS.items()}
    room = loaded(LOADED_OF_STAGED * messages, folder / "loaded")
    figures = {
        "bytes_per_staged_message": max(each["after"] for each in compacted.values()),
        "bytes_per_reading": room["per_reading"],
    }
    return {
        "machine": machine(folder),
        "messages": messages,
        "payload_bytes": PAYLOAD_BYTES,
        "micro_batch_messages": MICRO_BATCH_MESSAGES,
        "group_messages": GROUP_MESSAGES,
        "metrics_per_message": len(METRICS),
        "bytes_per_staged_message": compacted,
        "bytes_per_reading": room,
        "verdicts": {
            name: {"value": value, "target": TARGETS[name], "holds": value <= TARGETS[name]}
            for name, value in figures.items()
        },
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON value on stdout instead of lines.")
@click.option("--messages", default=500_000, show_default=True, type=click.IntRange(MICRO_BATCH_MESSAGES))
@click.option("--quick", is_flag=True, help="2,000 messages: shows that it runs, measures nothing.")
def main(as_json: bool, messages: int, quick: bool) -> None:
    """Measure the room that staged messages and readings take."""
    set_up_logging(level=logging.WARNING)
    whole = 2_000 if quick else messages - messages % MICRO_BATCH_MESSAGES
    with tempfile.TemporaryDirectory() as folder:
        report = measure(whole, Path(folder))
    if as_json:
        print(json.dumps(report, indent=1))
        return
    for kind, each in report["bytes_per_staged_message"].items():
        print(f"{kind:10} {each['before']:>7} bytes a staged message, compacted {each['after']:>6}")
    room = report["bytes_per_reading"]
    print(f"{room['per_reading']} bytes a reading: table {room['table']}, indexes {room['indexes']}")
    for name, verdict in report["verdicts"].items():
        print(f"{name:26} {verdict['value']:>7} target {verdict['target']}: {verdict['holds']}")


if __name__ == "__main__":
    main()
