-- What one level says of a stretch of a series, beside what the level says that it is made of. A stretch of a day with a
-- mark is left out: it is to be made anew. One statement sees one state: readings and their marks commit together.
WITH wanted AS (
    SELECT stretch.*
    FROM unnest(
        CAST(:series AS integer[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]),
        CAST(:levels AS text[]), CAST(:made_of AS text[])
    ) AS stretch (series, starts, ends, level, made_of)
    WHERE NOT EXISTS (
        SELECT FROM sensor_platform.changed_bucket AS mark
        WHERE mark.series = stretch.series
          AND date_trunc('day', mark.bucket, 'UTC') = date_trunc('day', stretch.starts, 'UTC')
    )
), told AS (
    SELECT wanted.*, side.is_level, figures.*
    FROM wanted
    CROSS JOIN LATERAL (VALUES (true, wanted.level), (false, wanted.made_of)) AS side (is_level, name)
    CROSS JOIN LATERAL (
        -- Where a part is from before these columns, they are not known.
        SELECT CASE WHEN bool_or(part.readings IS NULL) THEN NULL ELSE coalesce(sum(part.readings), 0) END AS readings,
               CASE WHEN bool_or(part.readings IS NULL) THEN NULL ELSE coalesce(sum(part.good), 0) END AS good,
               coalesce(sum(part.count), 0) AS count,
               sum(sensor_platform.summable(part.sum)) AS sum,
               sum(abs(sensor_platform.summable(part.sum))) AS size,
               min(part.min) AS min,
               max(part.max) AS max
        FROM (
            SELECT readings, good, count, sum, min, max
            FROM sensor_platform.metrics_daily AS day
            WHERE side.name = 'metrics_daily'
              AND day.series = wanted.series AND day.bucket >= wanted.starts AND day.bucket < wanted.ends
            UNION ALL
            SELECT readings, good, count, sum, min, max
            FROM sensor_platform.metrics_minute AS minute
            WHERE side.name = 'metrics_minute'
              AND minute.series = wanted.series AND minute.bucket >= wanted.starts AND minute.bucket < wanted.ends
            UNION ALL
            SELECT 1, CAST(counts AND quality = 'good' AS integer), CAST(counts AS integer), counted, counted, counted
            FROM sensor_platform.reading
            CROSS JOIN LATERAL (SELECT reading.quality <> 'bad' AND reading.value <> 'NaN' AS counts) AS judged
            CROSS JOIN LATERAL (SELECT CASE WHEN counts THEN reading.value END AS counted) AS number
            WHERE side.name = 'the readings' AND reading.value IS NOT NULL
              AND reading.series = wanted.series AND reading.time >= wanted.starts AND reading.time < wanted.ends
        ) AS part
    ) AS figures
)
SELECT work_unit.name || '/' || sensor.name AS sensor, series.metric, said.starts, said.ends, said.level, said.made_of,
       figure.name, figure.said, figure.found
FROM told AS said
JOIN told AS found USING (series, starts, ends, level)
JOIN sensor_platform.series ON series.id = said.series
JOIN sensor_platform.sensor ON sensor.id = series.sensor_id
JOIN sensor_platform.work_unit ON work_unit.id = sensor.work_unit_id
CROSS JOIN LATERAL (
    VALUES
        ('readings', coalesce(said.readings, found.readings), coalesce(found.readings, said.readings), 0),
        ('good', coalesce(said.good, found.good), coalesce(found.good, said.good), 0),
        ('count', said.count, found.count, 0),
        -- In whatever order they are taken: a float adds an error of 1e-16 of the sum so far with each of 1e6 readings.
        ('sum', said.sum, found.sum, 1e-9 * found.size),
        ('min', said.min, found.min, 0),
        ('max', said.max, found.max, 0)
) AS figure (name, said, found, tolerance)
WHERE said.is_level AND NOT found.is_level
  AND figure.said IS DISTINCT FROM figure.found
  AND (abs(sensor_platform.summable(figure.said) - sensor_platform.summable(figure.found)) <= figure.tolerance) IS NOT TRUE
ORDER BY 1, 2, 3, 5, 7
