-- Another unit for a series: its stored values and limits are converted, and their minutes marked. A value that named no
-- unit (source_unit 0) is in whatever unit the series has. Digits in `text` beside a value are those of the old unit.
WITH changed AS (
    UPDATE sensor_platform.series
    SET unit = :unit, unit_by = :by,
        minimum = (minimum * :factor + :offset) / :divisor,
        maximum = (maximum * :factor + :offset) / :divisor
    WHERE id = :series
), standing AS (
    UPDATE sensor_platform.metric
    SET value = (value * :factor + :offset) / :divisor,
        text = CASE WHEN value IS NULL THEN text END,
        source_unit = CASE WHEN source_unit::integer = -1 THEN CAST(:place AS integer)::"char" ELSE source_unit END
    WHERE series = :series AND source_unit::integer <> 0
    RETURNING time
), aside AS (
    UPDATE sensor_platform.metric_duplicate
    SET value = (value * :factor + :offset) / :divisor,
        text = CASE WHEN value IS NULL THEN text END,
        source_unit = CASE WHEN source_unit::integer = -1 THEN CAST(:place AS integer)::"char" ELSE source_unit END
    WHERE series = :series AND source_unit::integer <> 0
), noted AS (
    INSERT INTO sensor_platform.unit_change (series, unit_before, unit, by)
    VALUES (:series, :unit_before, :unit, :by)
)
INSERT INTO sensor_platform.changed_bucket (level, series, bucket)
SELECT DISTINCT 'minute', CAST(:series AS integer), date_trunc('minute', time, 'UTC') FROM standing
