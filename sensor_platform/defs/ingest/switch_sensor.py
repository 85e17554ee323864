"""Carries the switch of `mqtt_sensor` in the Dagster UI to the collector's control row.

A sensor that is switched off is not evaluated, so it cannot say so itself: this one looks at it.
"""

import dagster as dg

from sensor_platform.defs import names
from sensor_platform.defs.ingest.switch import write_sensor_on
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.unavailable import skip_while_unavailable


@dg.sensor(
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Writes whether mqtt_sensor is on into the collector's control row. Leave it on.",
)
@skip_while_unavailable
def switch_sensor(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SkipReason:
    on = is_on(context, names.MQTT_SENSOR)
    changed = write_sensor_on(platform.database, on, by=f"{names.MQTT_SENSOR} switched {'on' if on else 'off'}")
    state = "on" if on else "off"
    return dg.SkipReason(f"{names.MQTT_SENSOR} was switched {state}" if changed else f"{names.MQTT_SENSOR} is {state}")


def is_on(context: dg.SensorEvaluationContext, sensor: str) -> bool:
    """Whether a sensor of this code location is on; one that nobody touched has no state, or the code's."""
    location = context.code_location_origin
    states = [
        state
        for state in context.instance.all_instigator_state()
        if state.instigator_name == sensor
        and state.repository_selector.repository_name == context.repository_name
        and (location is None or state.repository_selector.location_name == location.location_name)
    ]
    return all(state.is_running for state in states)
