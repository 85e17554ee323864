-- Days of series as metrics_daily has them, beside what their readings say. A day with a mark is left out: it is to be made
-- anew. One statement sees one state: readings and their marks commit together.
WITH wanted AS (
    SELECT series, day FROM unnest(CAST(:series AS integer[]), CAST(:days AS timestamptz[])) AS wanted (series, day)
    EXCEPT
    SELECT series, date_trunc('day', bucket, 'UTC') FROM sensor_platform.changed_bucket
), compared AS (
    SELECT wanted.series, wanted.day, found.size,
           coalesce(daily.count, 0) AS said_count, found.count AS found_count,
           coalesce(daily.readings, found.readings) AS said_readings, found.readings AS found_readings,
           coalesce(daily.good, found.good) AS said_good, found.good AS found_good,
           daily.sum AS said_sum, found.sum AS found_sum,
           daily.min AS said_min, found.min AS found_min,
           daily.max AS said_max, found.max AS found_max
    FROM wanted
    LEFT JOIN sensor_platform.metrics_daily AS daily ON daily.series = wanted.series AND daily.bucket = wanted.day
    CROSS JOIN LATERAL (
        SELECT count(*) AS readings,
               count(*) FILTER (WHERE counts AND quality = 'good') AS good,
               count(*) FILTER (WHERE counts) AS count,
               sum(sensor_platform.summable(value)) FILTER (WHERE counts) AS sum,
               sum(abs(sensor_platform.summable(value))) FILTER (WHERE counts) AS size,
               min(value) FILTER (WHERE counts) AS min,
               max(value) FILTER (WHERE counts) AS max
        FROM sensor_platform.reading
        CROSS JOIN LATERAL (SELECT reading.quality <> 'bad' AND reading.value <> 'NaN' AS counts) AS judged
        WHERE reading.series = wanted.series AND reading.value IS NOT NULL
          AND reading.time >= wanted.day AND reading.time < wanted.day + interval '24 hours'
    ) AS found
)
SELECT work_unit.name || '/' || sensor.name AS sensor, series.metric, compared.day, figure.name, figure.said, figure.found
FROM compared
JOIN sensor_platform.series ON series.id = compared.series
JOIN sensor_platform.sensor ON sensor.id = series.sensor_id
JOIN sensor_platform.work_unit ON work_unit.id = sensor.work_unit_id
CROSS JOIN LATERAL (
    VALUES
        ('readings', compared.said_readings, compared.found_readings, 0),
        ('good', compared.said_good, compared.found_good, 0),
        ('count', compared.said_count, compared.found_count, 0),
        -- In whatever order they are taken: a float adds an error of 1e-16 of the sum so far with each of 1e6 readings.
        ('sum', compared.said_sum, compared.found_sum, 1e-9 * compared.size),
        ('min', compared.said_min, compared.found_min, 0),
        ('max', compared.said_max, compared.found_max, 0)
) AS figure (name, said, found, tolerance)
WHERE figure.said IS DISTINCT FROM figure.found
  AND (abs(sensor_platform.summable(figure.said) - sensor_platform.summable(figure.found)) <= figure.tolerance) IS NOT TRUE
ORDER BY 1, 2, 3, 4
