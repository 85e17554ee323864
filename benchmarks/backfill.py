"""A backfill: as long for each hour, invisible to readers, the same end after a kill, in bounded memory.

`python -m benchmarks.backfill [--json] [--hours 24] [--messages 500000] [--quick]`; messages an hour, of two readings.

The hours are loaded once (*first*), then again in four stretches (*again*) while a reader asks for one series and hour
after the other: each must have all its readings, once, at any moment. Then all is loaded again in a process that is
killed in the middle (*killed*), and once more to the end (*resumed*). Two messages of a hundred are rubbish, two repeat
an earlier one. The checksums cover every column of readings, duplicates and dead letters but those that say when and by
which attempt, every count of the ledger, and every figure of the rollups, which are made anew each time.
`--hours 1 --messages 10000000` shows the memory of one big hour.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa

from benchmarks.machine import machine
from benchmarks.plant import FIRST_RECEIVED, METRICS, REPEATS, RUBBISH, SENSORS, Plant, rough_payload
from benchmarks.processes import next_line, process
from sensor_platform.database.engine import Database
from sensor_platform.database.migrate import upgrade
from sensor_platform.embedded.postgres import EmbeddedPostgres
from sensor_platform.pipeline.rollups import roll_up
from sensor_platform.staging.store import LocalStaging

HOUR = timedelta(hours=1)
STRETCHES = 4
MICRO_BATCH_MESSAGES = 20_000
MOST_MB = 1024.0 * 1.048576  # 1 GiB
#: The slowest stretch of equal work beside the fastest: more would not be linear.
MOST_SPREAD = 1.5

CHECKSUMS = {
    "metric": "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM sensor_platform.metric AS t",
    "metric_duplicate": "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM sensor_platform.metric_duplicate AS t",
    "ledger": """
        SELECT count(*), sum(hashtextextended(concat_ws(',', id, name, staged, accepted, partial, dead_lettered,
            duplicate, ignored, decoded, inserted, duplicate_readings, refused, thinned, conflicts, least_time,
            greatest_time, route_versions, transformer_versions), 0)) FROM sensor_platform.ledger""",
    "dead_letter": """
        SELECT count(*), sum(hashtextextended(concat_ws(',', micro_batch, sequence, ordinal, state, stage, code, detail,
            payload), 0))
        FROM sensor_platform.dead_letter JOIN sensor_platform.dead_letter_message USING (micro_batch, sequence)""",
    **{
        level: f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM sensor_platform.{level} AS t"
        for level in ("metrics_minute", "metrics_hourly", "metrics_daily")
    },
}
#: Share of the messages whose readings stand.
GOOD = 1 - (len(RUBBISH) + len(REPEATS)) / 100
ONE_HOUR = """
    SELECT count(*), count(DISTINCT time) FROM sensor_platform.metric
    WHERE series = :series AND time >= :start AND time < :end"""


@dataclass(frozen=True, slots=True)
class Size:
    """Whole hours from FIRST_RECEIVED on."""

    hours: int
    messages: int  # an hour

    @property
    def interval_us(self) -> int:
        return 3_600_000_000 // self.messages

    @property
    def readings_a_series(self) -> int:
        """In an hour."""
        return round(self.messages // SENSORS * GOOD)


@dataclass(slots=True)
class Reader:
    """Asks again and again, until it is told to stop; what it saw that was not whole."""

    database: Database
    size: Size
    looks: int = 0
    wrong: list[str] = field(default_factory=list)

    @contextmanager
    def looking(self) -> Iterator[None]:
        over = threading.Event()
        thread = threading.Thread(target=self._look, args=[over], name="reader")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _look(self, over: threading.Event) -> None:
        rng, expected = random.Random(1), (self.size.readings_a_series,) * 2
        with self.database.connect() as connection:
            series = list(connection.execute(sa.text("SELECT id FROM sensor_platform.series")).scalars())
        while not over.wait(0.02):
            start = FIRST_RECEIVED + timedelta(hours=rng.randrange(self.size.hours))
            values = {"series": rng.choice(series), "start": start}
            with self.database.connect() as connection:
                found = connection.execute(sa.text(ONE_HOUR), {**values, "end": start + timedelta(hours=1)}).one()
            self.looks += 1
            if tuple(found) != expected:
                self.wrong.append(f"series {values['series']} at {start}: {tuple(found)} instead of {expected}")


@dataclass(frozen=True, slots=True)
class Bench:
    database: Database
    staging: LocalStaging
    size: Size

    def stage(self) -> None:
        with ProcessPoolExecutor() as pool:
            for done in [
                pool.submit(_stage_hour, hour, self.staging.root, self.size) for hour in range(self.size.hours)
            ]:
                done.result()

    @contextmanager
    def loading(self, mode: str, first: int, hours: int) -> Iterator[subprocess.Popen[str]]:
        start = FIRST_RECEIVED + timedelta(hours=first)
        options = [self.database.url, str(self.staging.root), mode, start.isoformat(), str(hours)]
        with process([sys.executable, "-m", "benchmarks.backfill_process", *options], says="stdout") as one:
            next_line(one.stdout, "loading")
            yield one

    def load(self, mode: str, first: int, hours: int) -> dict[str, Any]:
        with self.loading(mode, first, hours) as one:
            assert one.stdout is not None
            line = one.stdout.readline()
            if not line:
                raise click.ClickException("the loader failed")
            found: dict[str, Any] = json.loads(line)
        if found["inserted"] != round(found["messages"] * GOOD) * len(METRICS):
            raise click.ClickException(f"{found['inserted']} readings of {found['messages']} messages are in")
        return {**found, "messages_per_s": round(found["messages"] / found["seconds"])}

    def stretches(self, mode: str) -> list[dict[str, Any]]:
        length = max(1, self.size.hours // STRETCHES)
        return [
            self.load(mode, first, min(length, self.size.hours - first)) for first in range(0, self.size.hours, length)
        ]

    def kill_in_the_middle(self) -> int:
        """Micro-batches that a load of all hours had committed again when it was killed."""
        before = self._attempts()
        wanted = self.size.hours * self.size.messages // MICRO_BATCH_MESSAGES // 2
        with self.loading("again", 0, self.size.hours) as one:
            while self._attempts() - before < wanted and one.poll() is None:
                time.sleep(0.1)
            os.kill(one.pid, signal.SIGKILL)
            one.wait()
        return self._attempts() - before

    def _attempts(self) -> int:
        with self.database.connect() as connection:
            query = "SELECT coalesce(sum(attempt), 0) FROM sensor_platform.ledger"
            return int(connection.execute(sa.text(query)).scalar_one())

    def checksums(self) -> dict[str, list[str]]:
        last = FIRST_RECEIVED + self.size.hours * HOUR
        roll_up(self.database, first=FIRST_RECEIVED.date(), last=last.date())
        with self.database.connect() as connection:
            return {
                name: [str(each) for each in connection.execute(sa.text(query)).one()]
                for name, query in CHECKSUMS.items()
            }


def _stage_hour(hour: int, root: Path, size: Size) -> None:
    plant = Plant(hour * size.messages, size.messages, size.interval_us, rough_payload)
    plant.stage(LocalStaging(root), micro_batch_messages=min(MICRO_BATCH_MESSAGES, size.messages))


def measure(size: Size, folder: Path) -> dict[str, Any]:
    """The report as JSON has it."""
    with EmbeddedPostgres(folder) as server, Database(server.url) as database:
        upgrade(database)
        bench = Bench(database, LocalStaging(folder / "staging"), size)
        reader = Reader(database, size)
        _say("staging")
        bench.stage()
        _say("first")
        first = bench.stretches("new")
        clean = bench.checksums()
        _say("again, beside a reader")
        with reader.looking():
            again = bench.stretches("again")
        same = bench.checksums() == clean
        _say("killed and resumed, beside a reader")
        with reader.looking():
            killed = bench.kill_in_the_middle()
            resumed = bench.load("again", 0, size.hours)
        same_after_kill = bench.checksums() == clean
    return {
        "machine": machine(folder),
        "hours": size.hours,
        "messages_an_hour": size.messages,
        "readings": int(clean["metric"][0]),
        "first": first,
        "again": again,
        "killed_after_micro_batches": killed,
        "resumed": resumed,
        "looks": reader.looks,
        "wrong_looks": reader.wrong[:10],
        "checksums": clean,
        "verdicts": [
            _verdict("the same after a backfill", same, True, same),
            _verdict("the same after a kill and a resume", same_after_kill, True, same_after_kill),
            _verdict("readers that saw a row missing or doubled", len(reader.wrong), 0, not reader.wrong),
            _at_most("slowest stretch / fastest, first", _spread(first), MOST_SPREAD),
            _at_most("slowest stretch / fastest, again", _spread(again), MOST_SPREAD),
            _at_most("most memory of a run, MB", max(one["most_mb"] for one in [*first, *again, resumed]), MOST_MB),
        ],
    }


def _spread(stretches: list[dict[str, Any]]) -> float:
    rates = [float(one["messages_per_s"]) for one in stretches]
    return round(max(rates) / min(rates), 2)


def _at_most(figure: str, value: float, target: float) -> dict[str, Any]:
    return _verdict(figure, value, f"<= {target:.1f}", value <= target)


def _verdict(figure: str, value: Any, target: Any, holds: bool) -> dict[str, Any]:
    return {"figure": figure, "value": value, "target": target, "holds": holds}


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON value on stdout instead of lines.")
@click.option("--hours", default=24, show_default=True, type=click.IntRange(1))
@click.option("--messages", default=500_000, show_default=True, type=click.IntRange(20_000), help="Messages an hour.")
@click.option("--quick", is_flag=True, help="4 hours of 20,000 messages: shows that it runs, measures nothing.")
def main(as_json: bool, hours: int, messages: int, quick: bool) -> None:
    """Measure a backfill."""
    size = Size(4, 20_000) if quick else Size(hours, messages)
    with tempfile.TemporaryDirectory(prefix="benchmark-backfill-") as folder:
        report = measure(size, Path(folder))
    if as_json:
        print(json.dumps(report, indent=1))
        return
    for name in ("first", "again"):
        for one in report[name]:
            print(f"{name:6} {one['messages']:>12,} messages {one['seconds']:>8} s {one['most_mb']:>8} MB")
    for verdict in report["verdicts"]:
        print(f"{verdict['figure']:45} {verdict['value']!s:>8} target {verdict['target']}: {verdict['holds']}")


if __name__ == "__main__":
    main()
