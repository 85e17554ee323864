"""What is kept for how long."""

import dagster as dg

from sensor_platform.defs.retention.staging_retention import staging_retention_job, staging_retention_schedule

definitions = dg.Definitions(jobs=[staging_retention_job], schedules=[staging_retention_schedule])
