-- One reading each of the series that were last heard of. The mark bounds the look: see the view `last_reading`.
SELECT newest.time, newest.work_unit, newest.sensor, newest.metric, newest.value, newest.text, newest.unit, newest.quality
FROM (SELECT series, time FROM sensor_platform.high_water_mark ORDER BY time DESC LIMIT :limit) AS mark
CROSS JOIN LATERAL (
    SELECT * FROM sensor_platform.reading
    WHERE reading.series = mark.series AND reading.time <= mark.time
    ORDER BY reading.time DESC LIMIT 1
) AS newest
ORDER BY newest.time DESC
