from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster import DagsterInstance

from sensor_platform.defs import names
from sensor_platform.defs.ingest.staged_messages_sensor import Reported, report_hours, staged_messages_sensor
from sensor_platform.defs.partitions import HOUR, key_of
from sensor_platform.defs.resources import Platform
from sensor_platform.pipeline.process import process
from sensor_platform_tests.defs.staged import stage
from sensor_platform_tests.defs.ticks import tick

Told = dict[str, tuple[object, object]]


def told(events: list[dg.AssetMaterialization]) -> Told:
    """Partition of staged_messages -> messages, and whether the hour is over."""
    return {
        str(event.partition): (
            event.metadata["dagster/partition_row_count"].value,
            event.metadata["hour_is_over"].value,
        )
        for event in events
        if event.asset_key == names.STAGED_MESSAGES
    }


def root(platform: Platform) -> Path:
    return platform.settings.home / "staging"


def report(platform: Platform, reported: Reported, *, now: datetime) -> tuple[Told, Reported]:
    events, after = report_hours(platform, reported, now=now)
    return told(events), Reported.read(after.write())


def test_an_hour_is_told_when_it_changes_and_once_when_it_is_over(platform: Platform, this_hour: datetime) -> None:
    key, now = key_of(this_hour), this_hour + timedelta(minutes=30)
    reported = Reported(this_hour, {})
    assert report(platform, reported, now=now)[0] == {}
    stage(root(platform), this_hour, [b"1", b"2"])
    events, reported = report(platform, reported, now=now)
    assert events == {key: (2, False)}
    assert report(platform, reported, now=now)[0] == {}
    stage(root(platform), this_hour, [b"3"])
    events, reported = report(platform, reported, now=now)
    assert events == {key: (3, False)}
    over = this_hour + HOUR + timedelta(minutes=6)
    events, reported = report(platform, reported, now=over)
    assert events == {key: (3, True)}
    assert reported.next_hour == this_hour + HOUR
    assert report(platform, reported, now=over)[0] == {}


def test_idle_hours_are_told_with_no_messages(platform: Platform, this_hour: datetime) -> None:
    events, reported = report(platform, Reported(this_hour, {}), now=this_hour + HOUR + timedelta(minutes=10))
    assert events == {key_of(this_hour): (0, True)}
    assert reported.next_hour == this_hour + HOUR


def idle(events: list[dg.AssetMaterialization]) -> list[tuple[dg.AssetKey, str | None]]:
    return [(event.asset_key, event.partition) for event in events if event.asset_key != names.STAGED_MESSAGES]


def test_readings_of_an_idle_hour_are_reported_with_no_rows_and_others_are_left_to_runs(
    platform: Platform, this_hour: datetime
) -> None:
    key, over = key_of(this_hour), this_hour + HOUR + timedelta(minutes=10)
    events, _ = report_hours(platform, Reported(this_hour, {}), now=over)
    assert idle(events) == [(names.READINGS, key), (names.DEAD_LETTERS, key)]
    path = platform.staging.path(stage(root(platform), this_hour, [b"1"]))
    assert idle(report_hours(platform, Reported(this_hour, {}), now=over)[0]) == []
    process(platform.staging, platform.database, platform.routes, settings=platform.settings)
    path.unlink()
    assert idle(report_hours(platform, Reported(this_hour, {}), now=over)[0]) == []


def test_a_damaged_micro_batch_does_not_stop_the_report(platform: Platform, this_hour: datetime) -> None:
    whole = stage(root(platform), this_hour, [b"1"])
    damaged = stage(root(platform), this_hour, [b"2"])
    path = platform.staging.path(damaged)
    path.write_bytes(path.read_bytes()[:100])
    events, _ = report_hours(platform, Reported(this_hour, {}), now=this_hour + timedelta(minutes=30))
    assert whole != damaged
    assert told(events) == {key_of(this_hour): (1, False)}
    assert events[0].metadata["damaged"].value == 1


def test_the_sensor_keeps_its_place_and_starts_no_run(
    instance: DagsterInstance, platform: Platform, this_hour: datetime
) -> None:
    stage(root(platform), this_hour, [b"1"])
    result = tick(staged_messages_sensor, instance, platform)
    assert told(result.asset_events)[key_of(this_hour)] == (1, False)
    assert not result.run_requests
    again = tick(staged_messages_sensor, instance, platform, cursor=result.cursor)
    assert again.asset_events == []
    assert str(again.skip_reason.skip_message) == "no hour changed"
