-- All that the next statements may change, in one order: so two loads never deadlock.
SELECT series.id
FROM unnest(CAST(:work_units AS text[]), CAST(:sensors AS text[]), CAST(:metrics AS text[]))
     AS seen (work_unit, sensor, metric)
JOIN sensor_platform.work_unit ON work_unit.name = seen.work_unit
JOIN sensor_platform.sensor ON sensor.work_unit_id = work_unit.id AND sensor.name = seen.sensor
JOIN sensor_platform.series ON series.sensor_id = sensor.id AND series.metric = seen.metric
ORDER BY series.id
FOR UPDATE OF series
