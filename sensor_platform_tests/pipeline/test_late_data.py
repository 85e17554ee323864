"""Late readings: however they are shuffled, the rollups are those of readings in order, and no more is made anew."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.rollups import changed_days, roll_up
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import Message, load, new_staging, rows, stage, value
from sensor_platform_tests.pipeline.test_any_order import clear

START = datetime(2026, 11, 10, tzinfo=UTC)
RECEIVED = datetime(2026, 11, 23, 10, tzinfo=UTC)
TABLES = ("metrics_minute", "metrics_hourly", "metrics_daily")
VIEWS = ("rollup_minute", "rollup_hour", "rollup_day")


def history(days: int) -> list[tuple[datetime, Message]]:
    """Now and then some readings a minute of two metrics, of values whose sums show in which order they were taken."""
    chance = random.Random(6)
    readings = []
    at = START
    while (at := at + timedelta(seconds=chance.uniform(60, 2400))) < START + timedelta(days=days):
        for metric in ("a", "b", "a", "b", "a"):
            at += timedelta(seconds=1)
            number = chance.choice([chance.gauss(20, 5), 2**60 * chance.choice([1, -1]), 0.1])
            quality = chance.choice(["good", "good", "good", "uncertain", "bad"])
            readings.append((at, value(number, at, metric=metric, quality=quality)))
    return readings


def load_in_parts(folder: Path, database: Database, messages: list[Message], parts: int) -> None:
    """In so many micro-batches, each rolled up before the next comes."""
    staging = new_staging(folder)
    size = -(-len(messages) // parts)
    for start in range(0, len(messages), size):
        received_at = RECEIVED + timedelta(seconds=start)
        part = messages[start : start + size]
        stage(staging, f"m-{start:05d}", part, received_at=received_at, first_sequence=start + 1)
        load(staging, database)
        roll_up_marked(database)


def roll_up_marked(database: Database) -> None:
    days = changed_days(database)
    if days:
        roll_up(database, first=days[0], last=days[-1])


def rollups(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every figure, to the last bit, by name."""
    everything = {view: f"SELECT * FROM {view} ORDER BY metric, bucket" for view in VIEWS}
    with database.connect() as connection:
        connection.execute(sa.text("SET search_path TO sensor_platform"))
        found = {view: connection.execute(sa.text(query)).mappings().all() for view, query in everything.items()}
    return {
        view: [tuple(number for name, number in row.items() if name != "series") for row in each]
        for view, each in found.items()
    }


def test_readings_shuffled_by_up_to_three_days_give_the_rollups_of_sorted_ones(
    database: Database, tmp_path: Path
) -> None:
    readings = history(days=6)
    load_in_parts(tmp_path / "sorted", database, [message for _, message in readings], parts=3)
    expected = rollups(database)
    assert len(expected["rollup_day"]) == 12

    clear(database)
    chance = random.Random(7)
    late = sorted(readings, key=lambda one: (one[0] + timedelta(days=chance.uniform(0, 3)), one[0]))
    assert late != readings
    load_in_parts(tmp_path / "shuffled", database, [message for _, message in late], parts=9)
    assert rollups(database) == expected


def test_only_the_buckets_that_late_readings_touch_are_made_anew(database: Database, staging: LocalStaging) -> None:
    hours = [START + timedelta(hours=n) for n in range(0, 72, 12)]
    messages = [value(1, at + timedelta(minutes=m), metric=metric) for at in hours for m in (0, 1) for metric in "ab"]
    stage(staging, "a", messages, received_at=RECEIVED)
    load(staging, database)
    roll_up_marked(database)
    before = versions(database)
    assert [len(each) for each in before.values()] == [24, 12, 6]

    # One beside what is there, one in an hour of its own, and a repeat of what is there, which changes nothing.
    late = [value(5, hours[1] + timedelta(seconds=90), metric="a"), value(5, hours[3] + timedelta(hours=2), metric="b")]
    stage(staging, "b", [*late, messages[0]], received_at=RECEIVED + timedelta(hours=1), first_sequence=100)
    load(staging, database)
    roll_up_marked(database)
    after = versions(database)
    changed = {table: sorted(set(after[table].items()) - set(before[table].items())) for table in TABLES}
    assert {table: [key for key, _ in each] for table, each in changed.items()} == {
        "metrics_minute": [("a", hours[1] + timedelta(minutes=1)), ("b", hours[3] + timedelta(hours=2))],
        "metrics_hourly": [("a", hours[1]), ("b", hours[3] + timedelta(hours=2))],
        "metrics_daily": [("a", START), ("b", START + timedelta(days=1))],
    }
    assert all(before[table].keys() <= after[table].keys() for table in TABLES)


def versions(database: Database) -> dict[str, dict[tuple[str, datetime], str]]:
    """By metric and bucket, the transaction that wrote the row of each table."""
    query = "SELECT metric, bucket, {0}.xmin::text FROM {0} JOIN series ON series.id = series"
    return {
        table: {(metric, bucket): version for metric, bucket, version in rows(database, query.format(table))}
        for table in TABLES
    }
