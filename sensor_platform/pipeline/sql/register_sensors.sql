INSERT INTO sensor_platform.sensor (work_unit_id, name, first_seen_at)
SELECT DISTINCT work_unit.id, seen.sensor, CASE WHEN CAST(:is_seen AS boolean) THEN now() END
FROM unnest(CAST(:work_units AS text[]), CAST(:sensors AS text[])) AS seen (work_unit, sensor)
JOIN sensor_platform.work_unit ON work_unit.name = seen.work_unit
WHERE NOT EXISTS (
    SELECT FROM sensor_platform.sensor WHERE sensor.work_unit_id = work_unit.id AND sensor.name = seen.sensor
)
ORDER BY 1, 2
ON CONFLICT DO NOTHING
