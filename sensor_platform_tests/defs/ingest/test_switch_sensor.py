import dagster as dg
import sqlalchemy as sa
from dagster import DagsterInstance

from sensor_platform.database.tables import collector_control
from sensor_platform.defs.ingest.switch_sensor import switch_sensor
from sensor_platform.defs.resources import Platform
from sensor_platform_tests.defs.ticks import skip, switch, tick


def wish(platform: Platform) -> tuple[bool, bool] | None:
    with platform.database.connect() as connection:
        row = connection.execute(sa.select(collector_control.c.sensor_on, collector_control.c.api_on)).one_or_none()
    return None if row is None else (row.sensor_on, row.api_on)


def test_a_sensor_that_nobody_touched_is_on(stored_instance: DagsterInstance, platform: Platform) -> None:
    assert skip(tick(switch_sensor, stored_instance, platform)) == "mqtt_sensor was switched on"
    assert wish(platform) == (True, True)


def test_switched_off_is_carried_to_the_collector_once(stored_instance: DagsterInstance, platform: Platform) -> None:
    switch(stored_instance, "mqtt_sensor", on=False)
    assert skip(tick(switch_sensor, stored_instance, platform)) == "mqtt_sensor was switched off"
    assert wish(platform) == (False, True)
    assert skip(tick(switch_sensor, stored_instance, platform)) == "mqtt_sensor is off"


def test_switched_on_again(stored_instance: DagsterInstance, platform: Platform) -> None:
    switch(stored_instance, "mqtt_sensor", on=False)
    tick(switch_sensor, stored_instance, platform)
    switch(stored_instance, "mqtt_sensor", on=True)
    assert skip(tick(switch_sensor, stored_instance, platform)) == "mqtt_sensor was switched on"
    assert wish(platform) == (True, True)


def test_the_wish_of_the_api_is_not_touched(stored_instance: DagsterInstance, platform: Platform) -> None:
    with platform.database.begin() as connection:
        connection.execute(sa.insert(collector_control).values(api_on=False))
    switch(stored_instance, "mqtt_sensor", on=False)
    tick(switch_sensor, stored_instance, platform)
    assert wish(platform) == (False, False)


def test_another_sensor_or_code_location_that_is_off_means_nothing(
    stored_instance: DagsterInstance, platform: Platform
) -> None:
    switch(stored_instance, "alert_sensor", on=False)
    switch(stored_instance, "mqtt_sensor", on=False, repository="another")
    assert skip(tick(switch_sensor, stored_instance, platform)) == "mqtt_sensor was switched on"


def test_without_a_database_the_tick_says_so(stored_instance: DagsterInstance, unreachable: Platform) -> None:
    result = tick(switch_sensor, stored_instance, unreachable)
    assert isinstance(result, dg.SkipReason)
    assert "127.0.0.1:1" in str(result.skip_message)
