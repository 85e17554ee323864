"""The asset makes small what is old, and shows the room that everything takes."""

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
    assert all(shown[f"{table}_bytes"] > 0 for table in TABLES)
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
    kept.database.dispose()
