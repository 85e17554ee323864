"""What years of micro-batches and partitions do to the sensors: the time of a tick of each.

`python -m benchmarks.scale [--json] [--micro-batches 200000] [--hours 10000] [--keep FOLDER] [--quick]`. The staging
area has so many micro-batches over so many received hours, all but the newest twenty in the ledger; each hour of
`readings` is reported as materialized. Then each sensor is evaluated as the daemon would, in one process, without the
time for which a tick may wait. `--keep` leaves it all in a new folder: `SENSOR_PLATFORM_HOME=FOLDER sensor-platform up`
shows it.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa

from benchmarks.instance import dagster_instance
from benchmarks.machine import machine
from benchmarks.plant import Plant
from sensor_platform.database.engine import Database
from sensor_platform.database.migrate import upgrade
from sensor_platform.database.raw import cursor
from sensor_platform.embedded.postgres import EmbeddedPostgres
from sensor_platform.staging.format import MicroBatch, file_name
from sensor_platform.staging.store import LocalStaging

HOUR = timedelta(hours=1)
PENDING = 20
TICKS = 3
MOST_S = 2.0

LEDGER = """
COPY sensor_platform.ledger (name, hour, first_received_at, last_received_at, staged, accepted, partial, dead_lettered,
    duplicate, ignored, decoded, inserted, duplicate_readings, refused, conflicts, route_versions, transformer_versions)
FROM STDIN"""


def stage(staging: LocalStaging, first_hour: datetime, *, micro_batches: int, hours: int) -> list[MicroBatch]:
    """One real file of one message under so many names: what counts here are the names."""
    with tempfile.TemporaryDirectory(dir=staging.root) as folder:
        source = LocalStaging(Path(folder))
        Plant(0, 1).stage(source, micro_batch_messages=1)
        original = source.path(source.micro_batches()[0])
        found: list[MicroBatch] = []
        for number in range(micro_batches):
            micro_batch = MicroBatch(
                first_hour + number * hours // micro_batches * HOUR, file_name("c0", "bench", number)
            )
            path = staging.path(micro_batch)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(original, path) if number % 50_000 == 0 else os.link(staging.path(found[-1]), path)
            found.append(micro_batch)
    return found


def account(database: Database, loaded: list[MicroBatch], first_hour: datetime) -> None:
    """Ledger rows of `loaded`, and the hour in which the installation began."""
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE sensor_platform.installation SET first_hour = :hour"), {"hour": first_hour})
        with cursor(connection) as cur, cur.copy(LEDGER) as copy:
            for one in loaded:
                copy.write_row((one.name, one.hour, one.hour, one.hour, 1, 1, *[0] * 4, 1, 1, *[0] * 3, "{}", "{}"))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE sensor_platform.ledger"))


def materialize(instance: Any, first_hour: datetime, hours: int) -> None:
    import dagster as dg

    from sensor_platform.defs import names
    from sensor_platform.defs.partitions import key_of

    for number in range(hours):
        event = dg.AssetMaterialization(names.READINGS, partition=key_of(first_hour + number * HOUR))
        instance.report_runless_asset_event(event)


def ticks(instance: Any) -> dict[str, list[float]]:
    """Seconds of the first ticks of each sensor."""
    import dagster as dg

    from sensor_platform.definitions import defs
    from sensor_platform.defs.resources import Platform

    platform = Platform(tick_wait_s=0)
    repository = defs.get_repository_def()
    found: dict[str, list[float]] = {}
    for sensor in sorted(repository.sensor_defs, key=lambda one: one.name):
        cursor_now: str | None = None
        for _ in range(TICKS):
            with dg.build_sensor_context(
                instance=instance, cursor=cursor_now, resources={"platform": platform}, repository_def=repository
            ) as context:
                began_s = time.perf_counter()
                sensor.evaluate_tick(context)
                found.setdefault(sensor.name, []).append(round(time.perf_counter() - began_s, 3))
                cursor_now = context.cursor
    platform.database.dispose()
    return found


def measure(home: Path, *, micro_batches: int, hours: int) -> dict[str, Any]:
    """The report as JSON has it."""
    first_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - (hours - 1) * HOUR
    staging = LocalStaging(home / "staging")
    staging.root.mkdir(parents=True)
    with EmbeddedPostgres(home) as server, Database(server.url) as database:
        upgrade(database)
        _say("staging")
        found = stage(staging, first_hour, micro_batches=micro_batches, hours=hours)
        account(database, found[:-PENDING], first_hour)
        with dagster_instance(home, server.url) as instance:
            _say("materializing")
            materialize(instance, first_hour, hours)
            _say("ticks")
            seconds = ticks(instance)
    return {
        "machine": machine(home),
        "micro_batches": micro_batches,
        "hours": hours,
        "tick_s": seconds,
        "verdicts": [
            {
                "figure": f"slowest tick, {name}",
                "value": max(took),
                "target": f"<= {MOST_S}",
                "holds": max(took) <= MOST_S,
            }
            for name, took in seconds.items()
        ],
    }


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON value on stdout instead of lines.")
@click.option("--micro-batches", default=200_000, show_default=True, type=click.IntRange(100))
@click.option("--hours", default=10_000, show_default=True, type=click.IntRange(10))
@click.option("--keep", type=click.Path(path_type=Path), help="A new folder that stays.")
@click.option("--quick", is_flag=True, help="500 micro-batches in 50 hours: shows that it runs, measures nothing.")
def main(as_json: bool, micro_batches: int, hours: int, keep: Path | None, quick: bool) -> None:
    """Measure the ticks of the sensors."""
    if quick:
        micro_batches, hours = 500, 50
    with tempfile.TemporaryDirectory(prefix="benchmark-scale-") as folder:
        report = measure(keep or Path(folder) / "home", micro_batches=micro_batches, hours=hours)
    if as_json:
        print(json.dumps(report, indent=1))
        return
    for name, took in report["tick_s"].items():
        print(f"{name:28} " + "  ".join(f"{one:8.3f} s" for one in took))
    for verdict in report["verdicts"]:
        print(f"{verdict['figure']:45} {verdict['value']:8.3f} target {verdict['target']}: {verdict['holds']}")


if __name__ == "__main__":
    main()
