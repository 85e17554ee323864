from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster import DagsterInstance
from sqlalchemy.dialects.postgresql import insert

from sensor_platform.database.tables import collector_control, collector_heartbeat
from sensor_platform.defs import names
from sensor_platform.defs.ingest.checks import collector_alive
from sensor_platform.defs.ingest.mqtt_sensor import mqtt_sensor
from sensor_platform.defs.resources import Platform
from sensor_platform_tests.defs.ticks import skip, tick


def beat(platform: Platform, *, ago_s: float = 0, **changed: Any) -> None:
    """A collector's heartbeat, written `ago_s` ago."""
    at = datetime.now(UTC) - timedelta(seconds=ago_s)
    values = {
        "collector": "c0",
        "incarnation": "i",
        "client_id": "x",
        "host": "h",
        "pid": 7,
        "beat_at": at,
        "state": "collecting",
        "connected": True,
        "since": at - timedelta(hours=1),
        "last_commit_at": at,
        "messages": 1000,
        "payload_bytes": 1,
        "redelivered": 3,
        "qos0": 0,
        "open_messages": 5,
        "connections": 1,
        **changed,
    }
    statement = insert(collector_heartbeat).values(**values)
    with platform.database.begin() as connection:
        connection.execute(statement.on_conflict_do_update(index_elements=["collector"], set_=values))


def switch_off(platform: Platform) -> None:
    with platform.database.begin() as connection:
        connection.execute(sa.insert(collector_control).values(sensor_on=False))


def reported(result: Any) -> tuple[dict[str, Any], dg.AssetCheckEvaluation]:
    assert isinstance(result, dg.SensorResult), result
    observation, evaluation, broker = result.asset_events
    assert isinstance(broker, dg.AssetCheckEvaluation)
    assert broker.passed
    assert isinstance(observation, dg.AssetObservation)
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    assert observation.asset_key == evaluation.asset_key == names.MQTT_MESSAGES
    return {name: value.value for name, value in observation.metadata.items()}, evaluation


def test_a_collector_at_work_is_observed(instance: DagsterInstance, platform: Platform) -> None:
    beat(platform)
    figures, evaluation = reported(tick(mqtt_sensor, instance, platform))
    assert (figures["connected"], figures["messages"], figures["redelivered"]) == (1, 1000, 3)
    assert figures["state"] == "c0: collecting, connected"
    assert (evaluation.passed, evaluation.check_name) == (True, "collector_alive")


def test_the_same_is_not_told_twice_within_a_minute(instance: DagsterInstance, platform: Platform) -> None:
    beat(platform)
    cursor = tick(mqtt_sensor, instance, platform).cursor
    assert skip(tick(mqtt_sensor, instance, platform, cursor=cursor)) == "c0 is collecting, connected"


def test_a_change_of_state_is_told_at_once(instance: DagsterInstance, platform: Platform) -> None:
    beat(platform)
    cursor = tick(mqtt_sensor, instance, platform).cursor
    beat(platform, state="connecting", connected=False, error="refused")
    figures, _ = reported(tick(mqtt_sensor, instance, platform, cursor=cursor))
    assert (figures["connected"], figures["error"]) == (0, "refused")


def test_rates_are_over_the_time_since_the_last_report(instance: DagsterInstance, platform: Platform) -> None:
    beat(platform, ago_s=20)
    cursor = tick(mqtt_sensor, instance, platform).cursor
    beat(platform, ago_s=0, messages=3000, state="draining")
    figures, _ = reported(tick(mqtt_sensor, instance, platform, cursor=cursor))
    assert figures["messages_per_s"] == pytest.approx(100, abs=2)


def test_another_process_counts_from_nothing(instance: DagsterInstance, platform: Platform) -> None:
    beat(platform, ago_s=20)
    cursor = tick(mqtt_sensor, instance, platform).cursor
    beat(platform, pid=8, messages=10, state="connecting")
    figures, _ = reported(tick(mqtt_sensor, instance, platform, cursor=cursor))
    assert figures["messages_per_s"] == 0


@pytest.mark.parametrize(
    ("ago_s", "changed", "words"),
    [
        (300, {}, "c0 (pid 7) has not been heard of for 300 s"),
        (
            0,
            {"state": "connecting", "connected": False, "error": "refused"},
            "c0 is connecting, not connected: refused",
        ),
    ],
    ids=["silent", "not connected for an hour"],
)
def test_a_collector_in_trouble_fails_its_check(
    instance: DagsterInstance, platform: Platform, ago_s: float, changed: dict[str, Any], words: str
) -> None:
    beat(platform, ago_s=ago_s, **changed)
    _, evaluation = reported(tick(mqtt_sensor, instance, platform))
    assert (evaluation.passed, evaluation.description) == (False, words)


def test_what_the_broker_would_lose_is_told_at_once(instance: DagsterInstance, platform: Platform) -> None:
    beat(platform)
    first = tick(mqtt_sensor, instance, platform)
    assert isinstance(first, dg.SensorResult)
    beat(platform, warnings=[{"kind": "broker_drops", "detail": "it has dropped 3 messages."}])
    second = tick(mqtt_sensor, instance, platform, cursor=first.cursor)
    assert isinstance(second, dg.SensorResult)
    _, alive, broker = second.asset_events
    assert isinstance(alive, dg.AssetCheckEvaluation)
    assert isinstance(broker, dg.AssetCheckEvaluation)
    assert alive.passed
    assert (broker.check_name, broker.passed, broker.severity) == (
        "broker_keeps_what_it_confirms",
        False,
        dg.AssetCheckSeverity.WARN,
    )
    assert broker.description == "broker_drops: it has dropped 3 messages."


def test_a_collector_that_has_just_begun_to_connect_is_in_order(instance: DagsterInstance, platform: Platform) -> None:
    beat(platform, state="connecting", connected=False, since=datetime.now(UTC))
    assert reported(tick(mqtt_sensor, instance, platform))[1].passed


def test_a_collector_that_was_switched_off_is_in_order(instance: DagsterInstance, platform: Platform) -> None:
    switch_off(platform)
    beat(platform, state="waiting", connected=False)
    assert reported(tick(mqtt_sensor, instance, platform))[1].passed


def test_no_collector_at_all_fails_the_check(instance: DagsterInstance, platform: Platform) -> None:
    _, evaluation = reported(tick(mqtt_sensor, instance, platform))
    assert not evaluation.passed


def test_the_check_can_be_executed_without_the_sensor(platform: Platform) -> None:
    beat(platform, ago_s=300)
    result = collector_alive(platform=platform)
    assert isinstance(result, dg.AssetCheckResult)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.ERROR)


def test_without_a_database_the_tick_says_so(instance: DagsterInstance, unreachable: Platform) -> None:
    assert "does not answer" in skip(tick(mqtt_sensor, instance, unreachable))
