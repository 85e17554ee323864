-- From one usable reading (good or uncertain, not NaN) to the next one that is more than the allowed time after it. Made of
-- the minutes, so that a year is half a million rows and not a billion; a gap within a minute is none.
CREATE VIEW sensor_platform.gap AS
SELECT
    work_unit.name AS work_unit,
    sensor.name AS sensor,
    series.metric,
    stretch.since,
    stretch.until,
    date_part('epoch', coalesce(stretch.until, now()) - stretch.since) AS seconds,
    allowed.s AS allowed_s,
    stretch.series
FROM (
    SELECT minute.series, minute.last_time AS since,
           lead(minute.first_time) OVER (PARTITION BY minute.series ORDER BY minute.bucket) AS until
    FROM sensor_platform.metrics_minute AS minute
    WHERE minute.count > 0
) AS stretch
JOIN sensor_platform.series ON series.id = stretch.series
JOIN sensor_platform.sensor ON sensor.id = series.sensor_id
JOIN sensor_platform.work_unit ON work_unit.id = sensor.work_unit_id
CROSS JOIN LATERAL (SELECT greatest(60.0, coalesce(3 * sensor.expected_interval_s, 300.0)) AS s) AS allowed
WHERE coalesce(stretch.until, now()) - stretch.since > make_interval(secs => allowed.s);
COMMENT ON VIEW sensor_platform.gap IS 'Times without a usable reading: longer than three expected intervals of the sensor, or than five minutes where none is declared';
COMMENT ON COLUMN sensor_platform.gap.since IS 'the last usable reading before it';
COMMENT ON COLUMN sensor_platform.gap.until IS 'the first one after it; null: it lasts';
