"""What is kept for how long, and in how much room."""

import dagster as dg

from sensor_platform.defs.retention.history import history_job, history_schedule
from sensor_platform.defs.retention.staging_retention import staging_retention_job, staging_retention_schedule
from sensor_platform.defs.retention.storage import storage, storage_job, storage_schedule

definitions = dg.Definitions(
    assets=[storage],
    jobs=[staging_retention_job, storage_job, history_job],
    schedules=[staging_retention_schedule, storage_schedule, history_schedule],
)
