-- Sensors with an expected interval: how many of them have passed since the event time of their newest reading.
SELECT work_unit.name AS work_unit, sensor.name AS sensor,
       extract(epoch FROM CAST(:now AS timestamptz) - max(mark.time))::double precision / sensor.expected_interval_s
           AS intervals
FROM sensor_platform.sensor
JOIN sensor_platform.work_unit ON work_unit.id = sensor.work_unit_id
JOIN sensor_platform.series ON series.sensor_id = sensor.id
JOIN sensor_platform.high_water_mark AS mark ON mark.series = series.id
WHERE sensor.expected_interval_s IS NOT NULL
GROUP BY work_unit.name, sensor.name, sensor.expected_interval_s
