SELECT work_unit.name AS work_unit, sensor.name AS sensor, series.metric, series.id,
       series.unit, series.minimum, series.maximum
FROM unnest(CAST(:work_units AS text[]), CAST(:sensors AS text[]), CAST(:metrics AS text[]))
    AS named (work_unit, sensor, metric)
JOIN sensor_platform.work_unit ON work_unit.name = named.work_unit
JOIN sensor_platform.sensor ON sensor.work_unit_id = work_unit.id AND sensor.name = named.sensor
JOIN sensor_platform.series ON series.sensor_id = sensor.id AND series.metric = named.metric
