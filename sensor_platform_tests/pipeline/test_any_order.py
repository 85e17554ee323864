"""In whatever order micro-batches are loaded, made again, retried and rolled up, the end is that of one clean pass."""

import random
import shutil
from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.retry import retry
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.rollups import changed_days, roll_up
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, new_staging, routes, rows, stage

#: Event times lie in an hour of their own; few, so that readings meet.
EVENT = datetime(2026, 11, 23, 8, 59, 58, tzinfo=UTC)
#: `other` is in no message.
CONTRACT = "{version: 1, sensor: p1, metrics: {value: {maximum: 1, max_rate_per_s: 0.5}, other: {required: true}}}"
THINNED = "{value: {deadband: 1, longest_silence_s: 2}}"
VARIANTS = [
    "",
    ", text: true",
    f", contract: {CONTRACT}",
    ", text: true, allow_nan: true",
    f", contract: {CONTRACT}, report_by_exception: {THINNED}",
    f", text: true, report_by_exception: {THINNED}",
    ", ignore: true",
]

times = st.integers(0, 3).map(lambda second: (EVENT + timedelta(seconds=second)).isoformat())
values = st.sampled_from([1, 1.0, 2, 0.0, -0.0, "warm", "", "NaN", 2**60 + 1, None, True])
qualities = st.sampled_from([{}, {}, {"quality": "bad"}])
timed = st.builds(lambda at, value, quality: {"timestamp": at, "value": value, **quality}, times, values, qualities)
untimed = values.map(lambda value: {"value": value})
payloads = st.one_of(
    timed,
    timed,
    timed,
    st.lists(timed, min_size=2, max_size=3),
    st.lists(untimed, min_size=1, max_size=2),
    untimed,
    st.just(b"rubbish"),
)
topics = st.sampled_from(["factory/press/sensors/p1/data", "factory/press/sensors/p2/data", "nobody/knows"])
messages = st.builds(Message, payloads, topics, st.sampled_from([None, None, None, 1]))
micro_batches = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.lists(messages, min_size=1, max_size=4)), min_size=2, max_size=5
)
steps = st.lists(
    st.tuples(st.sampled_from(["new", "again", "again", "retry", "rollup"]), st.integers(0, 2), st.integers(0, 5)),
    max_size=8,
)


def stage_all(staging: LocalStaging, plan: list[tuple[int, int, list[Message]]]) -> None:
    """Received hours 0 to 2; two collectors may receive at the same moment: then the name decides."""
    for number, (hour, collector, content) in enumerate(plan):
        at = HOUR + timedelta(hours=hour)
        name = f"{'ab'[collector]}-{number:02d}"
        received_at = at + timedelta(seconds=number // 2)
        stage(staging, name, content, hour=at, received_at=received_at, first_sequence=100 * number)


def clear(database: Database, keep: Collection[str] = ("installation", "alembic_version")) -> None:
    tables = rows(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'sensor_platform'")
    names = [f"sensor_platform.{name}" for (name,) in tables if name not in keep and not name.startswith("metric_2")]
    with database.begin() as connection:
        connection.execute(sa.text(f"TRUNCATE {', '.join(names)} RESTART IDENTITY CASCADE"))


def snapshot(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that has to be equal, without what depends on the way it came to be (ids, attempts, runs)."""
    reading = """
        SELECT sensor.name, series.metric, t.time, t.value::text, t.text, t.quality, t.timed_by_receipt,
               ledger.name, t.sequence, t.ordinal
        FROM {} AS t JOIN series ON series.id = t.series JOIN sensor ON sensor.id = sensor_id
        JOIN ledger ON ledger.id = t.micro_batch ORDER BY ledger.name, t.sequence, t.ordinal"""
    letters = """
        SELECT ledger.name, sequence, ordinal, stage, code, detail FROM dead_letter
        JOIN ledger ON ledger.id = micro_batch WHERE state <> 'resolved' ORDER BY 1, 2, 3"""
    counts = """
        SELECT name, staged, accepted, partial, dead_lettered, duplicate, ignored, decoded, inserted,
               duplicate_readings, refused, thinned, least_time, greatest_time FROM ledger ORDER BY name"""
    rollup = """
        SELECT sensor.name, series.metric, bucket, readings, good, count, min, max, sum, m2,
               first, first_time, last, last_time, area FROM {} AS t
        JOIN series ON series.id = t.series JOIN sensor ON sensor.id = sensor_id ORDER BY 1, 2, 3"""
    queries = {
        **{table: reading.format(table) for table in ("metric", "metric_duplicate")},
        "letters": letters,
        "ledger": counts,
        **{table: rollup.format(table) for table in ("metrics_minute", "metrics_hourly", "metrics_daily")},
    }
    return {name: rows(database, query) for name, query in queries.items()}


def roll_up_marked(database: Database) -> None:
    for day in changed_days(database):
        roll_up(database, first=day, last=day)


def assert_the_first_stands(database: Database) -> None:
    """The invariant itself, counted without the code that keeps it."""
    found = rows(
        database,
        """
        SELECT true, series, time, (value + 0.0)::text, text, quality, timed_by_receipt,
               first_received_at, name, sequence, ordinal FROM metric JOIN ledger ON id = micro_batch
        UNION ALL
        SELECT false, series, time, (value + 0.0)::text, text, quality, timed_by_receipt,
               first_received_at, name, sequence, ordinal FROM metric_duplicate JOIN ledger ON id = micro_batch""",
    )
    groups = defaultdict(list)
    for standing, *identity, by_receipt, received, name, sequence, ordinal in found:
        if by_receipt:
            assert standing
        else:
            groups[tuple(identity)].append((received, name, sequence, ordinal, standing))
    for equal in groups.values():
        assert [one[-1] for one in sorted(equal)] == [True] + [False] * (len(equal) - 1)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    plan=micro_batches,
    steps=steps,
    final=st.integers(0, 5),
    conflicts=st.sampled_from(["all", "first", "last"]),
    mend=st.booleans(),
    seed=st.integers(0, 100),
)
def test_any_order_of_loads_backfills_and_retries_ends_in_one_clean_pass(
    database: Database, tmp_path: Path, plan: Any, steps: Any, final: int, conflicts: str, mend: bool, seed: int
) -> None:
    shutil.rmtree(tmp_path / "staging", ignore_errors=True)
    staging = new_staging(tmp_path)
    stage_all(staging, plan)
    variants = [routes(f"{options}, conflicts: {conflicts}") for options in VARIANTS]
    clear(database)
    if not mend:
        # The routes never change: then new micro-batches, in any order, are enough.
        variants = [variants[final]] * len(variants)
    load(staging, database, using=variants[final])
    roll_up_marked(database)
    clean = snapshot(database)
    assert_the_first_stands(database)

    clear(database)
    hours = [HOUR + timedelta(hours=hour) for hour in range(3)]
    for what, hour, variant in steps:
        if what == "retry":
            later = datetime.now(UTC) + timedelta(days=400)
            retry(database, variants[variant], settings=Settings(home=tmp_path), now=later)
        elif what == "rollup":
            roll_up_marked(database)
        else:
            load(staging, database, mode=Mode(what), using=variants[variant], hour=hours[hour])
        assert mismatches(database) == []
        assert_the_first_stands(database)
    random.Random(seed).shuffle(hours)
    for hour in hours:
        load(staging, database, mode=Mode.AGAIN if mend else Mode.NEW, using=variants[final], hour=hour)
    roll_up_marked(database)

    assert snapshot(database) == clean
    assert mismatches(database) == []
    assert changed_days(database) == []
