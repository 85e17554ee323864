"""Health figures and alerts."""

import dagster as dg

from sensor_platform.defs.health.alert_sensor import alert_sensor

definitions = dg.Definitions(sensors=[alert_sensor])
