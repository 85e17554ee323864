-- Readings of whose own unit nothing was noted are in the unit that their series had until now.
WITH noted AS (
    SELECT array_position(units, CAST(:unit AS text)) AS place FROM sensor_platform.series WHERE id = :series
), standing AS (
    UPDATE sensor_platform.metric SET source_unit = noted.place::"char"
    FROM noted
    WHERE series = :series AND source_unit::integer = -1 AND noted.place IS NOT NULL
)
UPDATE sensor_platform.metric_duplicate SET source_unit = noted.place::"char"
FROM noted
WHERE series = :series AND source_unit::integer = -1 AND noted.place IS NOT NULL
