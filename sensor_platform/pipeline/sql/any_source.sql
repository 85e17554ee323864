-- One of these sources that a reading of the series has, if there is any.
SELECT source_unit::integer FROM sensor_platform.metric
WHERE series = :series AND source_unit::integer = ANY(CAST(:sources AS integer[]))
UNION ALL
SELECT source_unit::integer FROM sensor_platform.metric_duplicate
WHERE series = :series AND source_unit::integer = ANY(CAST(:sources AS integer[]))
LIMIT 1
