"""Dead letters: the job that tries them again, and its schedule. The asset is written together with `readings`."""

import dagster as dg

from sensor_platform.defs.dead_letters.retry_job import dead_letter_retry_job, dead_letter_retry_schedule

definitions = dg.Definitions(
    jobs=[dead_letter_retry_job],
    schedules=[dead_letter_retry_schedule],
)
