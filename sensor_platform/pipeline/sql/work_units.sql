-- Every place with its path from the top.
WITH RECURSIVE placed AS (
    SELECT id, name, level, CAST(NULL AS text) AS parent, description, ARRAY[name] AS path
    FROM sensor_platform.work_unit
    WHERE parent_id IS NULL
    UNION ALL
    SELECT part.id, part.name, part.level, placed.name, part.description, placed.path || part.name
    FROM sensor_platform.work_unit AS part
    JOIN placed ON placed.id = part.parent_id
)
SELECT placed.name AS work_unit, placed.level, placed.parent, placed.description,
       array_to_string(placed.path, ' / ') AS path,
       (SELECT count(*) FROM sensor_platform.sensor WHERE sensor.work_unit_id = placed.id) AS sensors
FROM placed
ORDER BY placed.path
