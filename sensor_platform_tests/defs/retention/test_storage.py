"""The asset makes small what is old, and shows the room that everything takes."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import SecretStr

from sensor_platform.definitions import build_defs
from sensor_platform.defs import names
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.retention.storage import storage_schedule
from sensor_platform.pipeline.process import process
from sensor_platform.pipeline.room import TABLES
from sensor_platform.settings import RetentionSettings, Settings
from sensor_platform_tests.defs.staged import reading, stage
from sensor_platform_tests.defs.ticks import skip
from sensor_platform_tests.staging.failing_disk import FailingDisk


def ask(platform: Platform) -> object:
    with dg.build_schedule_context(resources={"platform": platform}) as context:
        return storage_schedule(context)


def load(platform: Platform, hour: datetime) -> None:
    stage(platform.settings.home / "staging", hour, [reading(1, at=hour), reading(2, at=hour)])
    process(platform.staging, platform.database, platform.routes, settings=platform.settings)


def test_the_schedule_asks_once_there_is_something_to_keep(platform: Platform, this_hour: datetime) -> None:
    assert skip(ask(platform)) == "nothing was loaded yet"
    load(platform, this_hour)
    assert isinstance(ask(platform), dg.RunRequest)


def test_the_asset_compacts_and_shows_the_room(
    platform: Platform, instance: dg.DagsterInstance, this_hour: datetime
) -> None:
    for days in (2, 3):
        load(platform, this_hour - timedelta(days=days))
    load(platform, this_hour)
    job = build_defs(platform=platform).resolve_job_def(names.STORAGE_JOB)
    assert job.execute_in_process(instance=instance).success
    event = instance.get_latest_materialization_event(names.STORAGE)
    assert event is not None
    assert event.asset_materialization is not None
    shown = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert (shown["compacted_hours"], shown["compacted_micro_batches"], shown["compacted_messages"]) == (2, 2, 4)
    assert (shown["staging_files"], shown["staging_compacted_files"]) == (1, 2)
    assert shown["staging_bytes"] == shown["staging_files_bytes"] + shown["staging_compacted_bytes"]
    empty = [table for table in TABLES if shown[f"{table}_bytes"] == 0]
    assert empty == ["metrics_minute", "metrics_hourly"], "nothing is rolled up: they have no partition yet"
    assert shown["database_bytes"] == sum(shown[f"{table}_bytes"] for table in TABLES)


def test_the_asset_deletes_what_the_settings_do_not_keep(
    platform: Platform, instance: dg.DagsterInstance, this_hour: datetime
) -> None:
    long_ago = this_hour - timedelta(days=100)
    load(platform, long_ago)
    load(platform, this_hour)
    retention = RetentionSettings(raw_days=40, dead_letter_days=40)
    settings = Settings(home=platform.settings.home, database_url=SecretStr(platform.database.url), retention=retention)
    kept = Platform(settings, tick_wait_s=0)
    assert build_defs(platform=kept).resolve_job_def(names.STORAGE_JOB).execute_in_process(instance=instance).success
    event = instance.get_latest_materialization_event(names.STORAGE)
    assert event is not None
    assert event.asset_materialization is not None
    shown = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert (shown["expired_readings"], shown["dropped_partitions"]) == (2, 1)
    assert shown["partitions_dropped"] == f"metric_{long_ago:%Y_%m}"
    assert datetime.fromtimestamp(shown["raw_kept_from"], UTC) > long_ago
    table = event.asset_materialization.metadata["levels"]
    assert isinstance(table, dg.TableMetadataValue)
    levels = {record.data["level"]: record.data for record in table.records}
    days = monthrange(long_ago.year, long_ago.month)[1]
    assert list(levels) == ["raw", "minute", "hour", "day"]
    raw, minute = levels["raw"], levels["minute"]
    assert (raw["kept"], raw["deleted now"], raw["days gone"]) == ("40 days", 2, days)
    assert raw["oldest"] == f"{this_hour:%Y-%m-%d %H:%M} UTC"
    assert (minute["kept"], minute["kept from"], minute["deleted now"]) == ("for ever", "", 0)
    assert minute["oldest"] == f"{long_ago:%Y-%m-%d %H:%M} UTC"
    assert all(level["bytes"] > 0 for level in levels.values())
    kept.database.dispose()


def test_a_disk_that_is_full_fails_the_run_and_everything_else_is_shown(
    platform: Platform, instance: dg.DagsterInstance, this_hour: datetime
) -> None:
    load(platform, this_hour - timedelta(days=3))
    job = build_defs(platform=platform).resolve_job_def(names.STORAGE_JOB)
    with FailingDisk(platform.settings.home / "staging", fails_at=0, for_more=1000)():
        assert not job.execute_in_process(instance=instance, raise_on_error=False).success
    event = instance.get_latest_materialization_event(names.STORAGE)
    assert event is not None
    assert event.asset_materialization is not None
    shown = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert "No space left on device. Nothing is lost" in str(shown["hours_not_compacted"])
    assert (shown["compacted_hours"], shown["staging_files"]) == (0, 1)
    assert job.execute_in_process(instance=instance).success
