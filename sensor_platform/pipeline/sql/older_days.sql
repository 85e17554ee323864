-- A day of each of some series, both by chance: two steps down the key of metrics_daily and one to the day.
SELECT older.series, older.bucket AS day
FROM (SELECT id FROM sensor_platform.series ORDER BY random() LIMIT :limit) AS chosen
CROSS JOIN LATERAL (
    SELECT min(bucket) + random() * (max(bucket) - min(bucket)) AS at
    FROM sensor_platform.metrics_daily WHERE series = chosen.id
) AS moment
CROSS JOIN LATERAL (
    SELECT series, bucket
    FROM sensor_platform.metrics_daily
    WHERE series = chosen.id AND bucket >= moment.at
    ORDER BY bucket
    LIMIT 1
) AS older
