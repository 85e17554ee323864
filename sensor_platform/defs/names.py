"""Names that more than one module of this layer, a test or a script relies on."""

from dagster import AssetKey

MQTT_MESSAGES = AssetKey("mqtt_messages")
STAGED_MESSAGES = AssetKey("staged_messages")
READINGS = AssetKey("readings")
DEAD_LETTERS = AssetKey("dead_letters")
METRICS_MINUTE = AssetKey("metrics_minute")
METRICS_HOURLY = AssetKey("metrics_hourly")
METRICS_DAILY = AssetKey("metrics_daily")
STORAGE = AssetKey("storage")

READINGS_JOB = "process_readings_job"
ROLLUPS_JOB = "rollups_job"
RETRY_JOB = "dead_letter_retry_job"

RETENTION_JOB = "staging_retention_job"
STORAGE_JOB = "storage_job"
HISTORY_JOB = "history_job"

MQTT_SENSOR = "mqtt_sensor"

OWNERS = ["team:data-platform"]

#: Run tag, "new" or "again". Only sensors set it: a run that people start re-processes what it names.
MODE_TAG = "sensor_platform/mode"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
PARENT_RUN_TAG = "dagster/parent_run_id"
BACKFILL_TAG = "dagster/backfill"
PRIORITY_TAG = "dagster/priority"
