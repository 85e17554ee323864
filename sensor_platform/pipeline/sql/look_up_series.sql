SELECT work_unit.name AS work_unit, sensor.name AS sensor, series.metric,
       series.id, series.unit, series.minimum, series.maximum, series.conflicts,
       series.unit_by, series.units, series.unnamed_unit, series.unnamed_by,
       sensor.first_seen_at IS NOT NULL AS seen,
       EXISTS (
           SELECT FROM sensor_platform.calibration
           WHERE calibration.series = series.id AND calibration.to_version IS NULL
       ) AS is_calibrated
FROM unnest(CAST(:work_units AS text[]), CAST(:sensors AS text[]), CAST(:metrics AS text[]))
    AS wanted (work_unit, sensor, metric)
JOIN sensor_platform.work_unit ON work_unit.name = wanted.work_unit
JOIN sensor_platform.sensor ON sensor.work_unit_id = work_unit.id AND sensor.name = wanted.sensor
JOIN sensor_platform.series ON series.sensor_id = sensor.id AND series.metric = wanted.metric
