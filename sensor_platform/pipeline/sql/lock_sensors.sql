-- Sensors that the next statements may change, in one order: so nobody deadlocks with a load that registers.
SELECT sensor.id
FROM unnest(CAST(:work_units AS text[]), CAST(:sensors AS text[])) AS named (work_unit, sensor)
JOIN sensor_platform.work_unit ON work_unit.name = named.work_unit
JOIN sensor_platform.sensor ON sensor.work_unit_id = work_unit.id AND sensor.name = named.sensor
ORDER BY sensor.id
FOR NO KEY UPDATE OF sensor
