from typing import Any

import dagster as dg
import sqlalchemy as sa
from dagster import DagsterInstance

from sensor_platform.database.tables import alert, alert_outbox, health
from sensor_platform.defs.health.alert_sensor import alert_sensor
from sensor_platform.defs.resources import Platform
from sensor_platform_tests.defs.ingest.test_mqtt_sensor import beat
from sensor_platform_tests.defs.ticks import skip, tick


def told(result: Any) -> str:
    """In words, with reported checks or without."""
    reason = result.skip_reason if isinstance(result, dg.SensorResult) else result
    return skip(dg.SkipReason(reason) if isinstance(reason, str) else reason)


def test_a_collector_that_is_down_fires_and_ends_and_the_channels_are_told(
    instance: DagsterInstance, platform: Platform
) -> None:
    beat(platform, ago_s=300)
    assert told(tick(alert_sensor, instance, platform)) == "1 alerts changed"
    assert told(tick(alert_sensor, instance, platform)) == "no alert changed"
    beat(platform)
    assert told(tick(alert_sensor, instance, platform)) == "1 alerts changed"
    with platform.database.connect() as connection:
        (found,) = connection.execute(sa.select(alert.c.rule, alert.c.state))
        assert tuple(found) == ("collector_down", "resolved")
        untold = sa.select(sa.func.count()).where(alert_outbox.c.delivered_at.is_(None))
        assert connection.execute(untold).scalar_one() == 0
        assert connection.execute(sa.select(sa.func.count(sa.distinct(health.c.at)))).scalar_one() == 3


def test_the_checks_of_figures_are_reported_without_a_run_and_again_only_when_due(
    instance: DagsterInstance, platform: Platform
) -> None:
    first = tick(alert_sensor, instance, platform)
    verdicts = {event.check_name: event.passed for event in first.asset_events}
    names = ("error_rate", "freshness", "sparkplug_gaps", "clock_skew", "dead_letter_backlog")
    assert verdicts == dict.fromkeys(names, True)
    assert not first.run_requests
    assert skip(tick(alert_sensor, instance, platform, cursor=first.cursor)) == "no alert changed"
    changed = first.cursor.replace("true", "false", 1)
    assert len(tick(alert_sensor, instance, platform, cursor=changed).asset_events) == 5
    long_ago = first.cursor.replace('"at": ', '"at": -')
    assert len(tick(alert_sensor, instance, platform, cursor=long_ago).asset_events) == 5


def test_without_a_database_the_tick_says_so(instance: DagsterInstance, unreachable: Platform) -> None:
    assert "does not answer" in skip(tick(alert_sensor, instance, unreachable))
