"""Staged messages to committed readings: the pipeline beside raw sorted COPY of the same rows, and the obvious script.

`python -m benchmarks.pipeline [--json] [--rounds 5] [--messages 200000] [--grow 1,10,50] [--quick]`. One process, an
embedded PostgreSQL with its durable settings. A message is 150 bytes of JSON with a time and two metrics, so two
readings.

Each round runs every alternative once on messages of its own. *ours* reads the files, decodes, validates, finds
repeats, and commits readings and ledger. *copy* is binary COPY of rows that were built before the clock starts, sorted
by (series, time), the same number a transaction, into a table of the same columns, partitions and indexes. *script* is
`json.loads`, DataFrame, `to_sql(method="multi")` into a table with one index. *run* is *ours* as a run of Dagster, in
this process, with its instance on the same server: what that takes more is `dagster` in `seconds_of_ours`. There,
`load` goes on beside `decode` and `validate` of the next group, and `ledger` is a part of it.

`--grow`: millions of rows that the table holds before *ours* and *copy* are measured again, one reading of each series
in ten seconds, in the partition that is loaded; two queries are timed there, too: *point*, a day of one sensor, and
*fleet*, figures of the last hour of every series. Their plans are in the JSON.
"""

import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import numpy as np
import sqlalchemy as sa
from psycopg import sql

from benchmarks.baselines import dataframe_script
from benchmarks.instance import dagster_instance
from benchmarks.machine import machine
from benchmarks.plant import FIRST_RECEIVED, INTERVAL_US, METRICS, SENSORS, Plant
from sensor_platform.database.copy import COLUMNS, ReadingRows, copy_readings
from sensor_platform.database.engine import Database
from sensor_platform.database.migrate import upgrade
from sensor_platform.database.partitions import make_partitions
from sensor_platform.database.raw import cursor
from sensor_platform.database.tables import metric
from sensor_platform.embedded.postgres import EmbeddedPostgres
from sensor_platform.log import set_up_logging
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.process import GROUP_MESSAGES, process
from sensor_platform.routes.file import parse_routes
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging

ROUTES = "routes:\n  - {name: data, filter: 'factory/{work_unit}/sensors/{sensor}/data', format: json}\n"
MICRO_BATCH_MESSAGES = 20_000
SCRIPT_SHARE = 0.05
GROW_M = "1,10,50"
#: Ratio or figure -> its least value.
TARGETS = {"ours_of_copy": 0.5, "ours_of_script": 5.0, "readings_per_s": 150_000, "grown_of_small": 0.8}

COPY_TABLE = """
CREATE SCHEMA IF NOT EXISTS bench;
CREATE TABLE bench.metric (LIKE sensor_platform.metric INCLUDING DEFAULTS) PARTITION BY RANGE (time);
CREATE TABLE bench.metric_all PARTITION OF bench.metric FOR VALUES FROM ('2001-01-01') TO ('2100-01-01');
CREATE INDEX ON bench.metric (series, time) WITH (fillfactor = 95);
CREATE INDEX ON bench.metric USING brin (micro_batch);
CREATE INDEX ON bench.metric USING brin (time) WITH (autosummarize = on);
CREATE TABLE bench.script (sensor text, metric text, time timestamptz, value double precision);
CREATE INDEX ON bench.script (sensor, metric, time);
"""
BEGAN = "UPDATE sensor_platform.installation SET first_hour = :hour"
#: What the queries may take at most at 50 million rows, in ms.
QUERY_TARGETS_MS = {"point": 50.0, "fleet": 500.0}
QUERY_ROWS_M = 50
#: Older readings of every series, going back from the first one that is measured.
SPACING_S = 10
GROW_AT_ONCE = 250
GROW = """
INSERT INTO {table} (time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt)
SELECT CAST(:first AS timestamptz) - second * :spacing * interval '1 second',
       800 + second % 977 / 8.0, second, series, 0, 0, 'g',
       false
FROM unnest(CAST(:series AS integer[])) AS series,
     generate_series(CAST(:after AS integer), CAST(:until AS integer)) AS second
"""


QUERIES = {
    "point": """
        SELECT time, metric, value, quality FROM sensor_platform.reading
        WHERE work_unit = 'bench' AND sensor = 'press-7'
          AND time >= CAST(:newest AS timestamptz) - interval '1 day' AND time < :newest""",
    "fleet": """
        SELECT work_unit, sensor, metric, count(*), min(value), max(value), avg(value) FROM sensor_platform.reading
        WHERE time >= CAST(:newest AS timestamptz) - interval '1 hour' AND time < :newest
        GROUP BY work_unit, sensor, metric""",
}
ASKED = 5
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


class Bench:
    """One database, one staging area; messages are never used twice."""

    def __init__(self, database: Database, instance: Any, folder: Path) -> None:
        self.database, self.instance = database, instance
        self.staging = LocalStaging(folder / "staging")
        self.routes = parse_routes(ROUTES)
        self.next_message = 0
        self.grown = 0
        self.ledger = StatementSeconds(database, "sensor_platform.ledger")

    def plant(self, messages: int) -> Plant:
        plant = Plant(self.next_message, messages)
        self.next_message += messages
        return plant

    def ours(self, messages: int) -> tuple[float, dict[str, float]]:
        """Readings/s, and where the seconds went."""
        plant = self.plant(messages)
        plant.stage(self.staging, micro_batch_messages=MICRO_BATCH_MESSAGES)
        self.ledger.seconds = 0.0
        began = time.perf_counter()
        report = process(self.staging, self.database, self.routes, settings=Settings())
        took_s = time.perf_counter() - began
        if report.readings.inserted != messages * len(METRICS):
            raise click.ClickException(f"{report.readings.inserted} readings are in, not {messages * len(METRICS)}")
        return report.readings.inserted / took_s, {**report.seconds, "ledger": self.ledger.seconds, "all": took_s}

    def run(self, messages: int) -> float:
        """Readings/s of the job that micro_batch_sensor asks for, which does not stay for more."""
        from sensor_platform.definitions import build_defs
        from sensor_platform.defs import names
        from sensor_platform.defs.partitions import key_of
        from sensor_platform.defs.resources import Platform

        plant = self.plant(messages)
        plant.stage(self.staging, micro_batch_messages=MICRO_BATCH_MESSAGES)
        first, last = (key_of(hour) for hour in plant.hours)
        tags = {names.MODE_TAG: Mode.NEW.value, names.RANGE_START_TAG: first, names.RANGE_END_TAG: last}
        job = build_defs(platform=Platform(tick_wait_s=0)).resolve_job_def(names.READINGS_JOB)
        began = time.perf_counter()
        done = job.execute_in_process(QUIET, instance=self.instance, tags=tags)
        if not done.success:
            raise click.ClickException("the run failed")
        return messages * len(METRICS) / (time.perf_counter() - began)

    def copy(self, messages: int) -> float:
        groups = [rows_of(part) for part in parts(self.plant(messages), GROUP_MESSAGES)]
        began = time.perf_counter()
        for rows in groups:
            with self.database.begin() as connection, cursor(connection) as cur:
                copy_readings(cur, sql.Identifier("bench", "metric"), rows)
        return messages * len(METRICS) / (time.perf_counter() - began)

    def script(self, messages: int) -> float:
        pairs = list(self.plant(messages).payloads())
        began = time.perf_counter()
        readings = dataframe_script.load(pairs, self.database.engine, "bench", "script")
        return readings / (time.perf_counter() - began)

    def grow(self, rows: int) -> None:
        """Until each table has some `rows` more than what was measured."""
        until = rows // (SENSORS * len(METRICS))
        first = FIRST_RECEIVED - timedelta(seconds=1)
        days = range(until * SPACING_S // 86_400 + 2)
        months = {(FIRST_RECEIVED - timedelta(days=day)).strftime("%Y-%m") for day in days}
        with self.database.begin() as connection:
            make_partitions(connection, metric, [(int(month[:4]), int(month[5:])) for month in months])
            series = list(connection.execute(sa.text("SELECT id FROM sensor_platform.series")).scalars())
            for table in ("sensor_platform.metric", "bench.metric"):
                for after in range(self.grown + 1, until + 1, GROW_AT_ONCE):  # sorted by series in itself, as a load is
                    values = {"first": first, "series": series, "after": after, "spacing": SPACING_S}
                    values["until"] = min(until, after + GROW_AT_ONCE - 1)
                    connection.execute(sa.text(GROW.format(table=table)), values)
        self.grown = until
        with self.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("VACUUM ANALYZE sensor_platform.metric"))
            connection.execute(sa.text("CHECKPOINT"))

    def queries(self) -> dict[str, dict[str, Any]]:
        """Milliseconds (median), rows and plan of each."""
        found = {}
        with self.database.connect() as connection:
            for name, query in QUERIES.items():
                values, took_ms = {"newest": FIRST_RECEIVED}, []
                for _ in range(ASKED):
                    began = time.perf_counter()
                    rows = connection.execute(sa.text(query), values).all()
                    took_ms.append((time.perf_counter() - began) * 1000)
                plan = connection.execute(sa.text(f"EXPLAIN (ANALYZE, BUFFERS) {query}"), values).scalars()
                found[name] = {"ms": round(statistics.median(took_ms), 1), "rows": len(rows), "plan": list(plan)}
        return found

    def bytes_per_reading(self) -> float:
        query = """SELECT sum(pg_total_relation_size(inhrelid)) / (SELECT count(*) FROM sensor_platform.metric)
                   FROM pg_inherits WHERE inhparent = 'sensor_platform.metric'::regclass"""
        with self.database.connect() as connection:
            return float(connection.execute(sa.text(query)).scalar_one())


class StatementSeconds:
    """How long the statements took that name a table, COPY apart."""

    def __init__(self, database: Database, table: str) -> None:
        self.seconds, self._table = 0.0, table
        sa.event.listen(database.engine, "before_cursor_execute", self._before)
        sa.event.listen(database.engine, "after_cursor_execute", self._after)

    def _before(self, connection: sa.Connection, *_: Any) -> None:
        connection.info["began"] = time.perf_counter()

    def _after(self, connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if self._table in statement:
            self.seconds += time.perf_counter() - connection.info["began"]


def parts(plant: Plant, size: int) -> list[Plant]:
    end = plant.first + plant.messages
    return [Plant(start, min(size, end - start)) for start in range(plant.first, end, size)]


def rows_of(plant: Plant) -> ReadingRows:
    """The rows that *ours* would make of these messages, sorted by (series, time)."""
    number = np.repeat(np.arange(plant.first, plant.first + plant.messages), len(METRICS))
    ordinal = np.tile(np.arange(len(METRICS), dtype=np.int32), plant.messages)
    first_us = int(FIRST_RECEIVED.timestamp() * 1e6)
    rows = ReadingRows(
        time=first_us + number * INTERVAL_US,
        value=(800 + number % 977 / 8) / np.where(ordinal == 0, 1, 4),
        sequence=number,
        series=(number % SENSORS * len(METRICS) + ordinal).astype(np.int32),
        micro_batch=(number // MICRO_BATCH_MESSAGES).astype(np.int32),
        ordinal=ordinal,
        quality=np.zeros(len(number), np.int16),
        timed_by_receipt=np.zeros(len(number), bool),
        source_unit=np.zeros(len(number), np.int8),
        text=np.full(len(number), None, dtype=object),
    )
    return rows.take(np.lexsort((rows.time, rows.series)))


@contextmanager
def opened(folder: Path) -> Iterator[Bench]:
    """On a server of its own, which began when the plant did."""
    os.environ["READINGS_RUN_STAYS_S"] = "0"
    with EmbeddedPostgres(folder) as server, Database(server.url) as database:
        upgrade(database)
        with database.begin() as connection:
            connection.execute(sa.text(COPY_TABLE))
            connection.execute(sa.text(BEGAN), {"hour": FIRST_RECEIVED})
        with dagster_instance(folder, server.url) as instance:
            yield Bench(database, instance, folder)


def measure(*, rounds: int, messages: int, grow: tuple[int, ...], folder: Path) -> dict[str, Any]:
    """The report as JSON has it."""
    with opened(folder) as bench:
        bench.ours(MICRO_BATCH_MESSAGES)  # warms imports, caches and the catalogue
        bench.run(MICRO_BATCH_MESSAGES)
        small, seconds = _rounds(bench, rounds, messages, beside=True)
        room = round(bench.bytes_per_reading(), 1)
        table = {"small": small}
        queries: dict[str, Any] = {}
        for millions in grow:
            bench.grow(millions * 1_000_000)
            queries[f"{millions}M rows"] = bench.queries()
            table[f"{millions}M rows"], _ = _rounds(bench, max(1, rounds // 2), messages, beside=False)
    ratios = {
        "readings_per_s": small["ours"],
        "ours_of_copy": small["ours"] / small["copy"],
        "ours_of_script": small["ours"] / small["script"],
    }
    grown = [rates["ours"] / small["ours"] for rates in table.values()]
    if grow:
        ratios["grown_of_small"] = min(grown)
    return {
        "machine": machine(folder),
        "messages": messages,
        "rounds": rounds,
        "columns": list(COLUMNS),
        "readings_per_s": table,
        "seconds_of_ours": seconds,
        "queries": queries,
        "query_verdicts": _query_verdicts(queries.get(f"{QUERY_ROWS_M}M rows")),
        "bytes_per_reading": room,
        "ratios": {
            name: {"value": round(value, 2), "target": TARGETS[name], "holds": value >= TARGETS[name]}
            for name, value in ratios.items()
        },
    }


def _query_verdicts(found: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """At 50 million rows alone."""
    if found is None:
        return {}
    return {
        name: {"value_ms": found[name]["ms"], "target_ms": target, "holds": found[name]["ms"] <= target}
        for name, target in QUERY_TARGETS_MS.items()
    }


def _rounds(bench: Bench, rounds: int, messages: int, *, beside: bool) -> tuple[dict[str, int], dict[str, float]]:
    """Medians of readings/s by alternative, and of the seconds of *ours* by step. `beside`: all alternatives."""
    rates: dict[str, list[float]] = {}
    steps: dict[str, list[float]] = {}

    def ours() -> float:
        rate, seconds = bench.ours(messages)
        for name, took_s in seconds.items():
            steps.setdefault(name, []).append(took_s)
        return rate

    def run() -> float:
        rate = bench.run(messages)
        steps.setdefault("dagster", []).append(messages * len(METRICS) / rate - steps["all"][-1])
        return rate

    todo: dict[str, Callable[[], float]] = {"ours": ours, "copy": lambda: bench.copy(messages)}
    if beside:
        todo |= {"run": run, "script": lambda: bench.script(int(messages * SCRIPT_SHARE))}
    for _ in range(rounds):
        for name, measured in todo.items():
            rates.setdefault(name, []).append(measured())
    return (
        {name: round(statistics.median(found)) for name, found in rates.items()},
        {name: round(statistics.median(found), 3) for name, found in steps.items()},
    )


def _millions(_context: Any, _parameter: Any, text: str) -> tuple[int, ...]:
    return tuple(sorted(int(each) for each in text.split(",") if each))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON value on stdout instead of lines.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--messages", default=200_000, show_default=True, type=click.IntRange(1000))
@click.option("--grow", default=GROW_M, show_default=True, callback=_millions, help="Millions of rows in the table.")
@click.option("--quick", is_flag=True, help="One round of 2,000 messages: shows that it runs, measures nothing.")
def main(as_json: bool, rounds: int, messages: int, grow: tuple[int, ...], quick: bool) -> None:
    """Measure staged messages to committed readings."""
    set_up_logging(level=logging.WARNING)
    if quick:
        rounds, messages, grow = 1, 2_000, ()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(rounds=rounds, messages=messages, grow=grow, folder=Path(folder))
    if as_json:
        print(json.dumps(report, indent=1))
        return
    for size, rates in report["readings_per_s"].items():
        for name, rate in rates.items():
            print(f"{size:10} {name:8} {rate:>10,} readings/s")
    for name, took_s in report["seconds_of_ours"].items():
        print(f"{name:10} {took_s:>10} s")
    for size, found in report["queries"].items():
        for name, one in found.items():
            print(f"{size:10} {name:8} {one['ms']:>10} ms, {one['rows']:,} rows")
    print(f"{report['bytes_per_reading']} bytes a reading, table and indexes")
    for name, verdict in report["ratios"].items():
        print(f"{name:18} {verdict['value']:>12,} target {verdict['target']:,}: {verdict['holds']}")


if __name__ == "__main__":
    main()
