import sqlalchemy as sa
from dagster import DagsterInstance

from sensor_platform.database.tables import alert, alert_outbox, health
from sensor_platform.defs.health.alert_sensor import alert_sensor
from sensor_platform.defs.resources import Platform
from sensor_platform_tests.defs.ingest.test_mqtt_sensor import beat
from sensor_platform_tests.defs.ticks import skip, tick


def test_a_collector_that_is_down_fires_and_ends_and_the_channels_are_told(
    instance: DagsterInstance, platform: Platform
) -> None:
    beat(platform, ago_s=300)
    assert skip(tick(alert_sensor, instance, platform)) == "1 alerts changed"
    assert skip(tick(alert_sensor, instance, platform)) == "no alert changed"
    beat(platform)
    assert skip(tick(alert_sensor, instance, platform)) == "1 alerts changed"
    with platform.database.connect() as connection:
        (told,) = connection.execute(sa.select(alert.c.rule, alert.c.state))
        assert tuple(told) == ("collector_down", "resolved")
        untold = sa.select(sa.func.count()).where(alert_outbox.c.delivered_at.is_(None))
        assert connection.execute(untold).scalar_one() == 0
        assert connection.execute(sa.select(sa.func.count(sa.distinct(health.c.at)))).scalar_one() == 3


def test_without_a_database_the_tick_says_so(instance: DagsterInstance, unreachable: Platform) -> None:
    assert "does not answer" in skip(tick(alert_sensor, instance, unreachable))
