WITH noted AS (
    INSERT INTO sensor_platform.unit_change (series, unit_before, unit, by) VALUES (:series, :before, :after, :by)
)
UPDATE sensor_platform.series
SET unit = :unit, unit_by = :unit_by, unnamed_unit = :unnamed_unit, unnamed_by = :unnamed_by,
    minimum = :minimum, maximum = :maximum
WHERE id = :series
