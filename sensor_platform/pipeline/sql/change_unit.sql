-- Another unit for a series: its stored values and limits are converted, and their minutes marked. A value that named no
-- unit (source_unit 0) is in whatever unit the series has. Digits in `text` beside a value are those of the old unit.
-- PostgreSQL refuses to overflow and to underflow: what comes near is infinite, or nothing. NaN stays NaN.
WITH changed AS (
    UPDATE sensor_platform.series
    SET unit = :unit, unit_by = :by,
        minimum = CASE WHEN minimum = 0 OR abs(minimum) BETWEEN 1e-250 AND :greatest THEN (minimum * :factor + :offset) / :divisor
             WHEN abs(minimum) < 1e-250 THEN CAST(:offset AS double precision) / :divisor
             ELSE minimum * CAST('Infinity' AS double precision) END,
        maximum = CASE WHEN maximum = 0 OR abs(maximum) BETWEEN 1e-250 AND :greatest THEN (maximum * :factor + :offset) / :divisor
             WHEN abs(maximum) < 1e-250 THEN CAST(:offset AS double precision) / :divisor
             ELSE maximum * CAST('Infinity' AS double precision) END
    WHERE id = :series
), standing AS (
    UPDATE sensor_platform.metric
    SET value = CASE WHEN value = 0 OR abs(value) BETWEEN 1e-250 AND :greatest THEN (value * :factor + :offset) / :divisor
             WHEN abs(value) < 1e-250 THEN CAST(:offset AS double precision) / :divisor
             ELSE value * CAST('Infinity' AS double precision) END,
        text = CASE WHEN value IS NULL THEN text END,
        source_unit = CASE WHEN source_unit::integer = -1 THEN CAST(:place AS integer)::"char" ELSE source_unit END
    WHERE series = :series AND source_unit::integer <> 0
    RETURNING time
), aside AS (
    UPDATE sensor_platform.metric_duplicate
    SET value = CASE WHEN value = 0 OR abs(value) BETWEEN 1e-250 AND :greatest THEN (value * :factor + :offset) / :divisor
             WHEN abs(value) < 1e-250 THEN CAST(:offset AS double precision) / :divisor
             ELSE value * CAST('Infinity' AS double precision) END,
        text = CASE WHEN value IS NULL THEN text END,
        source_unit = CASE WHEN source_unit::integer = -1 THEN CAST(:place AS integer)::"char" ELSE source_unit END
    WHERE series = :series AND source_unit::integer <> 0
), noted AS (
    INSERT INTO sensor_platform.unit_change (series, unit_before, unit, by)
    VALUES (:series, :unit_before, :unit, :by)
)
INSERT INTO sensor_platform.changed_bucket (level, series, bucket)
SELECT DISTINCT 'minute', CAST(:series AS integer), date_trunc('minute', time, 'UTC') FROM standing
