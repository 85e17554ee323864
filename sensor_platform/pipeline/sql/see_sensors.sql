-- A declared sensor that nobody had heard of is seen now. Rows are locked in one order, so two loads never deadlock.
WITH unseen AS (
    SELECT sensor.id
    FROM unnest(CAST(:work_units AS text[]), CAST(:sensors AS text[])) AS seen (work_unit, sensor)
    JOIN sensor_platform.work_unit ON work_unit.name = seen.work_unit
    JOIN sensor_platform.sensor ON sensor.work_unit_id = work_unit.id AND sensor.name = seen.sensor
    WHERE sensor.first_seen_at IS NULL
    ORDER BY sensor.id
    FOR NO KEY UPDATE OF sensor
)
UPDATE sensor_platform.sensor SET first_seen_at = now()
FROM unseen
WHERE sensor.id = unseen.id AND sensor.first_seen_at IS NULL
