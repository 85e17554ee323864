SELECT work_unit.name AS work_unit, sensor.name AS sensor, sensor.id,
       sensor.declared_at IS NOT NULL AS declared, sensor.description, sensor.expected_interval_s
FROM unnest(CAST(:work_units AS text[]), CAST(:sensors AS text[])) AS named (work_unit, sensor)
JOIN sensor_platform.work_unit ON work_unit.name = named.work_unit
JOIN sensor_platform.sensor ON sensor.work_unit_id = work_unit.id AND sensor.name = named.sensor
