-- From one usable reading (good or uncertain, not NaN) to the next one that is more than the allowed time after it. Made of
-- the minutes, so that a year is half a million rows and not a billion; a gap within a minute is none. From the series
-- outward, each with its own minutes: who asks for one sensor reads no others.
CREATE OR REPLACE VIEW sensor_platform.gap AS
SELECT
    work_unit.name AS work_unit,
    sensor.name AS sensor,
    series.metric,
    stretch.since,
    stretch.until,
    date_part('epoch', coalesce(stretch.until, now()) - stretch.since) AS seconds,
    allowed.s AS allowed_s,
    series.id AS series
FROM sensor_platform.series
JOIN sensor_platform.sensor ON sensor.id = series.sensor_id
JOIN sensor_platform.work_unit ON work_unit.id = sensor.work_unit_id
CROSS JOIN LATERAL (SELECT greatest(60.0, coalesce(3 * sensor.expected_interval_s, 300.0)) AS s) AS allowed
CROSS JOIN LATERAL (
    SELECT minute.last_time AS since, lead(minute.first_time) OVER (ORDER BY minute.bucket) AS until
    FROM sensor_platform.metrics_minute AS minute
    WHERE minute.series = series.id AND minute.count > 0
) AS stretch
WHERE coalesce(stretch.until, now()) - stretch.since > make_interval(secs => allowed.s)
