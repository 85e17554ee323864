-- The buckets in `recomputed` from those of the level below, in their order. Means and squares about them are merged as
-- Chan et al. have it: nothing is the difference of two large sums. A part from before these columns has no figures in
-- them; where one is missing, what needs all of them is not known.
INSERT INTO {table}
    (series, bucket, readings, good, count, min, max, sum, m2, first, first_time, last, last_time, area)
SELECT recomputed.series, recomputed.bucket, made.readings, made.good, made.count, made.min, made.max, made.sum, made.m2,
       made.first, made.first_time, made.last, made.last_time, made.area
FROM recomputed
CROSS JOIN LATERAL (
    SELECT count(*) AS parts,
           CASE WHEN bool_and(readings IS NOT NULL) THEN sum(readings) END AS readings,
           CASE WHEN bool_and(readings IS NOT NULL) THEN sum(good) END AS good,
           sum(count) AS count,
           min(min) AS min,
           max(max) AS max,
           sum(sum ORDER BY bucket) AS sum,
           sensor_platform.summable(sum(
               CASE WHEN has_squares THEN m2 + CASE WHEN abs(off) < 1e-140 THEN 0 ELSE count * off * off END END
               ORDER BY bucket
           )) AS m2,
           min(first) FILTER (WHERE place = 1) AS first,
           min(first_time) FILTER (WHERE place = 1) AS first_time,
           min(last) FILTER (WHERE is_last) AS last,
           min(last_time) FILTER (WHERE is_last) AS last_time,
           -- From the last reading of a part to the first of the next, the last one holds.
           CASE WHEN bool_and(area IS NOT NULL) FILTER (WHERE count > 0) THEN sum(
               area + CASE WHEN is_last THEN 0 ELSE
                   sensor_platform.summable(last) * date_part('epoch', next_time - last_time)
               END
               ORDER BY bucket
           ) FILTER (WHERE count > 0) END AS area
    FROM (
        SELECT part.*,
               CASE WHEN part.count > 0 THEN row_number() OVER counted END AS place,
               part.count > 0 AND lead(part.bucket) OVER counted IS NULL AS is_last,
               lead(part.first_time) OVER counted AS next_time,
               bool_and(part.m2 IS NOT NULL) OVER counted AS has_squares,
               part.mean - sum(part.sum) OVER counted / sum(part.count) OVER counted AS off
        FROM {below} AS part
        WHERE part.series = recomputed.series
          AND part.bucket >= recomputed.bucket AND part.bucket < recomputed.bucket + {length}
          AND part.bucket >= %(start)s AND part.bucket < %(end)s
        WINDOW counted AS (
            PARTITION BY part.count > 0
            ORDER BY part.bucket ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        )
    ) AS part
) AS made
WHERE made.parts > 0
