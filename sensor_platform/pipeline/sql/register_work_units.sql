INSERT INTO sensor_platform.work_unit (name)
SELECT DISTINCT name FROM unnest(CAST(:work_units AS text[])) AS seen (name)
WHERE NOT EXISTS (SELECT FROM sensor_platform.work_unit WHERE work_unit.name = seen.name)
ORDER BY name
ON CONFLICT DO NOTHING
