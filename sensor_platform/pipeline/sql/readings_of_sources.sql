SELECT tableoid, ctid::text, source_unit::integer, value, nullif(text, '') AS text FROM sensor_platform.metric
WHERE series = :series AND value IS NOT NULL AND source_unit::integer = ANY(CAST(:sources AS integer[]))
UNION ALL
SELECT tableoid, ctid::text, source_unit::integer, value, nullif(text, '') AS text FROM sensor_platform.metric_duplicate
WHERE series = :series AND value IS NOT NULL AND source_unit::integer = ANY(CAST(:sources AS integer[]))
