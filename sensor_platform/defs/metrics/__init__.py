"""Rollups by event day: minutes, hours, days."""

import dagster as dg

from sensor_platform.defs.metrics.rollup_sensor import rollup_sensor
from sensor_platform.defs.metrics.rollups import rollups, rollups_job

definitions = dg.Definitions(assets=[rollups], jobs=[rollups_job], sensors=[rollup_sensor])
