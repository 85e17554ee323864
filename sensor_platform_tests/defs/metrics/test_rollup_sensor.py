import os
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import sqlalchemy as sa
from dagster import DagsterInstance, DagsterRunStatus

from sensor_platform.database.tables import changed_bucket, metric
from sensor_platform.defs import names
from sensor_platform.defs.metrics.rollup_sensor import rollup_sensor
from sensor_platform.defs.resources import Platform
from sensor_platform.pipeline.process import process
from sensor_platform_tests.defs.made_runs import asset_run, job_run
from sensor_platform_tests.defs.staged import reading, stage
from sensor_platform_tests.defs.ticks import skip, tick

NEW = {"sensor_platform/mode": "new"}


def change(platform: Platform, *days: str) -> None:
    """Marks a bucket of each day, as a load does."""
    rows = [{"level": "minute", "series": 1, "bucket": datetime.fromisoformat(day).replace(tzinfo=UTC)} for day in days]
    with platform.database.begin() as connection:
        connection.execute(sa.insert(changed_bucket), rows)


def ranges(result: Any) -> list[tuple[str, str]]:
    assert isinstance(result, dg.SensorResult), result
    requests = result.run_requests or []
    assert all(request.tags["sensor_platform/mode"] == "new" for request in requests)
    return [(request.tags[names.RANGE_START_TAG], request.tags[names.RANGE_END_TAG]) for request in requests]


def test_no_changed_day_asks_for_nothing(instance: DagsterInstance, platform: Platform) -> None:
    assert skip(tick(rollup_sensor, instance, platform)) == "no day changed"


def test_one_run_a_stretch_of_changed_days(instance: DagsterInstance, platform: Platform) -> None:
    change(platform, "2014-01-01", "2014-01-02", "2026-05-01")
    assert ranges(tick(rollup_sensor, instance, platform)) == [
        ("2014-01-01", "2014-01-02"),
        ("2026-05-01", "2026-05-01"),
    ]


def test_a_day_that_has_not_begun_waits_until_it_has(instance: DagsterInstance, platform: Platform) -> None:
    change(platform, (datetime.now(UTC) + timedelta(days=2)).date().isoformat())
    assert skip(tick(rollup_sensor, instance, platform)) == "no day changed"


def test_a_long_stretch_is_several_runs(instance: DagsterInstance, platform: Platform) -> None:
    first = datetime(2014, 1, 1, tzinfo=UTC)
    change(platform, *[(first + timedelta(days=n)).date().isoformat() for n in range(40)])
    assert ranges(tick(rollup_sensor, instance, platform)) == [
        ("2014-01-01", "2014-01-31"),
        ("2014-02-01", "2014-02-09"),
    ]


def test_a_run_in_flight_is_waited_for_and_a_backfill_is_not(instance: DagsterInstance, platform: Platform) -> None:
    change(platform, "2014-01-01")
    asset_run(instance, [names.METRICS_DAILY], DagsterRunStatus.STARTED)
    assert ranges(tick(rollup_sensor, instance, platform)) == [("2014-01-01", "2014-01-01")]
    run = job_run(instance, names.ROLLUPS_JOB, DagsterRunStatus.STARTED, tags=NEW)
    assert skip(tick(rollup_sensor, instance, platform)) == f"1 days changed, but run {run.run_id} is started"


def test_readings_that_have_waited_for_ten_seconds_go_first(
    instance: DagsterInstance, platform: Platform, this_hour: datetime
) -> None:
    change(platform, "2014-01-01")
    path = platform.staging.path(stage(platform.settings.home / "staging", this_hour, [b"1"]))
    assert ranges(tick(rollup_sensor, instance, platform)) == [("2014-01-01", "2014-01-01")]
    sealed_at = datetime.now(UTC).timestamp() - 30
    os.utime(path, (sealed_at, sealed_at))
    assert "readings have waited for 30 s and go first" in skip(tick(rollup_sensor, instance, platform))


def test_nothing_is_asked_for_while_a_mismatch_stands(
    instance: DagsterInstance, platform: Platform, this_hour: datetime
) -> None:
    stage(platform.settings.home / "staging", this_hour, [reading(1, at=this_hour), reading(2, at=this_hour)])
    process(platform.staging, platform.database, platform.routes, settings=platform.settings)
    with platform.database.begin() as connection:
        connection.execute(sa.delete(metric).where(metric.c.value == 2))
    for _ in range(2):
        reason = skip(tick(rollup_sensor, instance, platform))
        assert "readings inserted: the ledger says 2, the tables have 1" in reason
    with platform.database.begin() as connection:
        connection.execute(sa.text("update sensor_platform.ledger set inserted = 1, decoded = 1"))
    assert len(ranges(tick(rollup_sensor, instance, platform))) == 1


def test_runs_that_fail_again_and_again_do_not_spin(instance: DagsterInstance, platform: Platform) -> None:
    change(platform, "2014-01-01")
    for _ in range(3):
        job_run(instance, names.ROLLUPS_JOB, DagsterRunStatus.FAILURE, tags=NEW)
    assert "runs fail, the next attempt is in" in skip(tick(rollup_sensor, instance, platform))


def test_each_attempt_has_a_key_of_its_own(instance: DagsterInstance, platform: Platform) -> None:
    change(platform, "2014-01-01")

    def key() -> str | None:
        result = tick(rollup_sensor, instance, platform)
        assert isinstance(result, dg.SensorResult)
        assert result.run_requests
        return result.run_requests[0].run_key

    first = key()
    assert key() == first
    job_run(instance, names.ROLLUPS_JOB, DagsterRunStatus.FAILURE, tags=NEW)
    assert key() != first


def test_without_a_database_the_tick_says_so(instance: DagsterInstance, unreachable: Platform) -> None:
    assert "does not answer" in skip(tick(rollup_sensor, instance, unreachable))
