-- The delays of a load by sensor, beside those of the same received hour; a newer hour begins anew, an older one is late.
-- A sensor is noted twice a minute at the most: many small loads would write each row with each of them. What is newer by
-- more than a day is of a collector whose clock was wrong, and stands in nobody's way.
WITH loaded AS (
    SELECT series.sensor_id AS sensor, sum(n)::bigint AS readings, min(least_s) AS least_s, sum(sum_s) / sum(n) AS mean_s
    FROM unnest(
        CAST(:series AS integer[]), CAST(:n AS bigint[]), CAST(:least_s AS double precision[]),
        CAST(:sum_s AS double precision[])
    ) AS loaded (series, n, least_s, sum_s)
    JOIN sensor_platform.series ON series.id = loaded.series
    GROUP BY series.sensor_id
)
INSERT INTO sensor_platform.sensor_clock AS stands (sensor, hour, readings, least_delay_s, mean_delay_s, noted_at)
SELECT loaded.sensor, :hour, loaded.readings, loaded.least_s, loaded.mean_s, :noted_at
FROM loaded
WHERE NOT EXISTS (
    SELECT FROM sensor_platform.sensor_clock AS lately
    WHERE lately.sensor = loaded.sensor AND lately.noted_at > CAST(:noted_at AS timestamptz) - interval '30 seconds'
      AND lately.noted_at < CAST(:noted_at AS timestamptz) + interval '1 day'
)
ORDER BY loaded.sensor
ON CONFLICT (sensor) DO UPDATE SET
    hour = excluded.hour,
    noted_at = excluded.noted_at,
    readings = excluded.readings + CASE WHEN stands.hour = excluded.hour THEN stands.readings ELSE 0 END,
    least_delay_s = CASE WHEN stands.hour = excluded.hour THEN least(stands.least_delay_s, excluded.least_delay_s)
                         ELSE excluded.least_delay_s END,
    mean_delay_s = CASE WHEN stands.hour = excluded.hour THEN
                       stands.mean_delay_s + (excluded.mean_delay_s - stands.mean_delay_s)
                       * excluded.readings / (stands.readings + excluded.readings)
                   ELSE excluded.mean_delay_s END
WHERE stands.noted_at < excluded.noted_at OR stands.noted_at > excluded.noted_at + interval '1 day'
