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
               max(part.max) AS max,
               min(part.first) FILTER (WHERE part.place = 1) AS first,
               min(part.first_time) AS first_time,
               min(part.last) FILTER (WHERE part.is_last) AS last,
               max(part.last_time) AS last_time,
               -- As one level is merged from the one below: of readings each is a part of its own.
               CASE WHEN bool_and(part.m2 IS NOT NULL AND abs(part.mean) <= 1e140) FILTER (WHERE part.count > 0) THEN
                   sum(
                       part.m2
                       + CASE WHEN abs(part.off) BETWEEN 1e-140 AND 1e141 THEN part.count * part.off * part.off ELSE 0 END
                   ) FILTER (WHERE part.count > 0)
               END AS m2,
               CASE WHEN bool_and(part.area IS NOT NULL) FILTER (WHERE part.count > 0) THEN sum(
                   part.area + CASE WHEN part.is_last OR part.next_time = part.last_time THEN 0 ELSE
                       sensor_platform.summable(part.last) * date_part('epoch', part.next_time - part.last_time)
                   END
               ) FILTER (WHERE part.count > 0) END AS area
        FROM (
            SELECT each.*,
                   CASE WHEN each.count > 0 THEN row_number() OVER counted END AS place,
                   each.count > 0 AND lead(each.count) OVER counted IS NULL AS is_last,
                   lead(each.first_time) OVER counted AS next_time,
                   sensor_platform.summable(each.mean)
                       - sum(sensor_platform.summable(each.sum)) OVER every / sum(each.count) OVER every AS off
            FROM (
                SELECT readings, good, count, sum, min, max, mean, m2, first, first_time, last, last_time, area,
                       bucket AS at, CAST(NULL AS timestamptz) AS received_at, NULL AS name,
                       CAST(NULL AS bigint) AS sequence, CAST(NULL AS integer) AS ordinal
                FROM sensor_platform.metrics_daily AS day
                WHERE side.name = 'metrics_daily'
                  AND day.series = wanted.series AND day.bucket >= wanted.starts AND day.bucket < wanted.ends
                UNION ALL
                SELECT readings, good, count, sum, min, max, mean, m2, first, first_time, last, last_time, area,
                       bucket, NULL, NULL, NULL, NULL
                FROM sensor_platform.metrics_hourly AS hour
                WHERE side.name = 'metrics_hourly'
                  AND hour.series = wanted.series AND hour.bucket >= wanted.starts AND hour.bucket < wanted.ends
                UNION ALL
                SELECT readings, good, count, sum, min, max, mean, m2, first, first_time, last, last_time, area,
                       bucket, NULL, NULL, NULL, NULL
                FROM sensor_platform.metrics_minute AS minute
                WHERE side.name = 'metrics_minute'
                  AND minute.series = wanted.series AND minute.bucket >= wanted.starts AND minute.bucket < wanted.ends
                UNION ALL
                SELECT 1, CAST(counts AND quality = 'good' AS integer), CAST(counts AS integer),
                       counted, counted, counted, counted, 0, counted, counted_at, counted, counted_at, 0,
                       reading.time, ledger.first_received_at, ledger.name, reading.sequence, reading.ordinal
                FROM sensor_platform.reading
                LEFT JOIN sensor_platform.ledger ON ledger.id = reading.micro_batch
                CROSS JOIN LATERAL (SELECT reading.quality <> 'bad' AND reading.value <> 'NaN' AS counts) AS judged
                CROSS JOIN LATERAL (
                    SELECT CASE WHEN counts THEN reading.value END AS counted,
                           CASE WHEN counts THEN reading.time END AS counted_at
                ) AS number
                WHERE side.name = 'the readings' AND reading.value IS NOT NULL
                  AND reading.series = wanted.series AND reading.time >= wanted.starts AND reading.time < wanted.ends
            ) AS each
            WINDOW counted AS (PARTITION BY each.count > 0 ORDER BY each.at, received_at, name, sequence, ordinal),
                   every AS (PARTITION BY each.count > 0)
        ) AS part
    ) AS figures
)
SELECT work_unit.name || '/' || sensor.name AS sensor, series.metric, said.starts, said.ends, said.level, said.made_of,
       figure.name, figure.said, figure.found
FROM told AS said
JOIN told AS found USING (series, starts, ends, level, made_of)
JOIN sensor_platform.series ON series.id = said.series
JOIN sensor_platform.sensor ON sensor.id = series.sensor_id
JOIN sensor_platform.work_unit ON work_unit.id = sensor.work_unit_id
-- Not less than what has a square, and no more than what sums can hold.
CROSS JOIN LATERAL (
    SELECT sensor_platform.summable(greatest(abs(found.min), abs(found.max), 1e-140)) AS largest,
           date_part('epoch', said.ends - said.starts) AS seconds
) AS scale
CROSS JOIN LATERAL (
    VALUES
        ('readings', coalesce(said.readings, found.readings), coalesce(found.readings, said.readings), 0),
        ('good', coalesce(said.good, found.good), coalesce(found.good, said.good), 0),
        ('count', said.count, found.count, 0),
        -- In whatever order they are taken: a float adds an error of 1e-16 of the sum so far with each of 1e6 readings.
        ('sum', said.sum, found.sum, 1e-9 * found.size),
        ('min', said.min, found.min, 0),
        ('max', said.max, found.max, 0),
        -- These are not in rows from before their columns, nor are squares of what is too large.
        ('first', coalesce(said.first, found.first), coalesce(found.first, said.first), 0),
        ('last', coalesce(said.last, found.last), coalesce(found.last, said.last), 0),
        ('first_time', date_part('epoch', coalesce(said.first_time, found.first_time) - said.starts),
            date_part('epoch', coalesce(found.first_time, said.first_time) - said.starts), 0),
        ('last_time', date_part('epoch', coalesce(said.last_time, found.last_time) - said.starts),
            date_part('epoch', coalesce(found.last_time, said.last_time) - said.starts), 0),
        ('area', coalesce(said.area, found.area), coalesce(found.area, said.area), 1e-9 * scale.largest * scale.seconds),
        -- What the mean lacks counts with each square, whose root may be much less than the mean itself.
        ('m2', coalesce(said.m2, found.m2), coalesce(found.m2, said.m2), CASE WHEN found.m2 >= 0 THEN
            1e-9 * (found.m2 + sqrt(found.m2 * found.count) * scale.largest)
            + found.count * (1e-10 * scale.largest) * (1e-10 * scale.largest)
        END)
) AS figure (name, said, found, tolerance)
WHERE said.is_level AND NOT found.is_level
  AND figure.said IS DISTINCT FROM figure.found
  AND (abs(sensor_platform.summable(figure.said) - sensor_platform.summable(figure.found)) <= figure.tolerance) IS NOT TRUE
ORDER BY 1, 2, 3, 5, 7
