-- What `restated` says becomes the value of these readings, and their minutes are marked.
WITH standing AS (
    UPDATE sensor_platform.metric AS reading SET value = restated.value, text = coalesce(restated.text, '')
    FROM restated
    WHERE reading.series = :series AND reading.tableoid = restated.part AND reading.ctid = restated.row
    RETURNING reading.time
), aside AS (
    UPDATE sensor_platform.metric_duplicate AS reading SET value = restated.value, text = coalesce(restated.text, '')
    FROM restated
    WHERE reading.series = :series AND reading.tableoid = restated.part AND reading.ctid = restated.row
)
INSERT INTO sensor_platform.changed_bucket (level, series, bucket)
SELECT DISTINCT 'minute', CAST(:series AS integer), date_trunc('minute', time, 'UTC') FROM standing
