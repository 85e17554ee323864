-- The first unit ever named stays (set_units.sql is for routes that name another), and readings that name none are in it.
-- The route that names the same is noted beside it. The policy follows the route. Rows are locked in one order, so two
-- loads never deadlock.
WITH seen AS (
    SELECT series.id, seen.unit, seen.unit_by, seen.conflicts, series.conflicts AS conflicts_before
    FROM unnest(
        CAST(:work_units AS text[]), CAST(:sensors AS text[]), CAST(:metrics AS text[]),
        CAST(:units AS text[]), CAST(:units_by AS text[]), CAST(:conflicts AS text[])
    ) AS seen (work_unit, sensor, metric, unit, unit_by, conflicts)
    JOIN sensor_platform.work_unit ON work_unit.name = seen.work_unit
    JOIN sensor_platform.sensor ON sensor.work_unit_id = work_unit.id AND sensor.name = seen.sensor
    JOIN sensor_platform.series ON series.sensor_id = sensor.id AND series.metric = seen.metric
    WHERE series.conflicts <> seen.conflicts
       OR (series.unit IS NULL AND seen.unit IS NOT NULL)
       OR (series.unit_by IS NULL AND seen.unit_by IS NOT NULL AND series.unit = seen.unit)
       OR (series.unnamed_by IS NULL AND seen.unit_by IS NOT NULL AND series.unnamed_unit = seen.unit)
    ORDER BY series.id
    FOR UPDATE OF series
), updated AS (
    UPDATE sensor_platform.series
    SET unit = coalesce(series.unit, seen.unit), conflicts = seen.conflicts,
        unit_by = CASE
            WHEN series.unit IS NULL OR (series.unit_by IS NULL AND series.unit = seen.unit) THEN seen.unit_by
            ELSE series.unit_by
        END,
        unnamed_unit = coalesce(series.unnamed_unit, seen.unit),
        unnamed_by = CASE
            WHEN series.unnamed_unit IS NULL OR (series.unnamed_by IS NULL AND series.unnamed_unit = seen.unit)
            THEN seen.unit_by
            ELSE series.unnamed_by
        END
    FROM seen
    WHERE series.id = seen.id
    RETURNING series.id, seen.conflicts_before <> seen.conflicts AS policy_changed
)
-- Another policy shows other values wherever several share a time.
INSERT INTO sensor_platform.changed_bucket (level, series, bucket)
SELECT DISTINCT 'minute', metric.series, date_trunc('minute', metric.time, 'UTC')
FROM sensor_platform.metric
JOIN updated ON updated.id = metric.series AND updated.policy_changed
GROUP BY metric.series, metric.time
HAVING count(*) > 1
