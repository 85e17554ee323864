INSERT INTO sensor_platform.series (sensor_id, metric, unit, unit_by, unnamed_unit, unnamed_by, conflicts)
SELECT sensor.id, seen.metric, seen.unit, seen.unit_by, seen.unit, seen.unit_by, seen.conflicts
FROM unnest(
    CAST(:work_units AS text[]), CAST(:sensors AS text[]), CAST(:metrics AS text[]),
    CAST(:units AS text[]), CAST(:units_by AS text[]), CAST(:conflicts AS text[])
) AS seen (work_unit, sensor, metric, unit, unit_by, conflicts)
JOIN sensor_platform.work_unit ON work_unit.name = seen.work_unit
JOIN sensor_platform.sensor ON sensor.work_unit_id = work_unit.id AND sensor.name = seen.sensor
WHERE NOT EXISTS (
    SELECT FROM sensor_platform.series WHERE series.sensor_id = sensor.id AND series.metric = seen.metric
)
ORDER BY 1, 2
ON CONFLICT DO NOTHING
