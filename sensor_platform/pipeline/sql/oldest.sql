-- The least event time of each level: one step down an index for each series, and each partition.
SELECT level, least
FROM (
    SELECT 'raw' AS level, (
        SELECT min(found.time)
        FROM sensor_platform.series
        CROSS JOIN LATERAL (
            SELECT time FROM sensor_platform.metric WHERE metric.series = series.id ORDER BY time LIMIT 1
        ) AS found
    ) AS least
    UNION ALL SELECT 'minute', (SELECT min(bucket) FROM sensor_platform.metrics_minute)
    UNION ALL SELECT 'hour', (SELECT min(bucket) FROM sensor_platform.metrics_hourly)
    UNION ALL SELECT 'day', (SELECT min(bucket) FROM sensor_platform.metrics_daily)
) AS levels
WHERE least IS NOT NULL
