"""From the broker's messages to readings in PostgreSQL: assets, the sensors that drive them, and their checks."""

import dagster as dg

from sensor_platform.defs.ingest.checks import (
    broker_keeps_what_it_confirms,
    collector_alive,
    last_hour_accounted_for,
    made_with_routes_of_today,
)
from sensor_platform.defs.ingest.messages import mqtt_messages, staged_messages
from sensor_platform.defs.ingest.micro_batch_sensor import micro_batch_sensor
from sensor_platform.defs.ingest.mqtt_sensor import mqtt_sensor
from sensor_platform.defs.ingest.readings import process_readings_job, readings_and_dead_letters
from sensor_platform.defs.ingest.staged_messages_sensor import staged_messages_sensor
from sensor_platform.defs.ingest.switch_sensor import switch_sensor

definitions = dg.Definitions(
    assets=[mqtt_messages, staged_messages, readings_and_dead_letters],
    asset_checks=[broker_keeps_what_it_confirms, collector_alive, last_hour_accounted_for, made_with_routes_of_today],
    jobs=[process_readings_job],
    sensors=[mqtt_sensor, switch_sensor, micro_batch_sensor, staged_messages_sensor],
)
