-- Another name for the unit of a series: no value changes, nor what `text` holds beside it.
WITH renamed AS (
    UPDATE sensor_platform.series SET unit = :unit, unit_by = :by WHERE id = :series
), standing AS (
    UPDATE sensor_platform.metric SET source_unit = CAST(:place AS integer)::"char"
    WHERE series = :series AND source_unit::integer = -1 AND CAST(:place AS integer) <> -1
), aside AS (
    UPDATE sensor_platform.metric_duplicate SET source_unit = CAST(:place AS integer)::"char"
    WHERE series = :series AND source_unit::integer = -1 AND CAST(:place AS integer) <> -1
)
INSERT INTO sensor_platform.unit_change (series, unit_before, unit, by)
VALUES (:series, :unit_before, :unit, :by)
