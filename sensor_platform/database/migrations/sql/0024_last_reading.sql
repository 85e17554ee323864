-- The newest reading of each series, as its policy shows it: of several values at one time the first or the last in
-- received order. One step down the index on (series, time) for each series; the mark bounds it, so that a series whose
-- newest reading is of 2013 is not looked for in every later partition.
CREATE OR REPLACE VIEW sensor_platform.last_reading AS
SELECT work_unit.name AS work_unit, sensor.name AS sensor, series.metric, newest.time, newest.value,
       CASE WHEN newest.text <> '' OR newest.value IS NULL THEN newest.text END AS text,
       series.unit, CASE newest.quality WHEN 'g' THEN 'good' WHEN 'u' THEN 'uncertain' ELSE 'bad' END AS quality
FROM sensor_platform.series
JOIN sensor_platform.sensor ON sensor.id = series.sensor_id
JOIN sensor_platform.work_unit ON work_unit.id = sensor.work_unit_id
JOIN sensor_platform.high_water_mark AS mark ON mark.series = series.id
CROSS JOIN LATERAL (
    SELECT metric.time FROM sensor_platform.metric
    WHERE metric.series = series.id AND metric.time <= mark.time
    ORDER BY metric.time DESC LIMIT 1
) AS latest
CROSS JOIN LATERAL (
    SELECT same.* FROM (
        SELECT metric.time, metric.value, metric.text, metric.quality, count(*) OVER () AS values_then,
               row_number() OVER (
                   ORDER BY ledger.first_received_at, ledger.name, metric.sequence, metric.ordinal
               ) AS place
        FROM sensor_platform.metric
        JOIN sensor_platform.ledger ON ledger.id = metric.micro_batch
        WHERE metric.series = series.id AND metric.time = latest.time
    ) AS same
    WHERE same.place = CASE series.conflicts WHEN 'first' THEN 1 ELSE same.values_then END
) AS newest;
