-- The minutes in `recomputed` from their readings. A sum of floats depends on its order: each is taken by time, of one
-- time in received order, so that the order of loading leaves no trace. Lateral: an index scan a bucket, whatever the
-- planner believes. `start` and `end` bound the buckets once more, so that partitions are left out when planning.
INSERT INTO sensor_platform.metrics_minute
    (series, bucket, readings, good, count, min, max, sum, m2, first, first_time, last, last_time, area)
SELECT recomputed.series, recomputed.bucket, made.*
FROM recomputed
CROSS JOIN LATERAL (
    SELECT count(*) AS readings,
           count(*) FILTER (WHERE counts AND quality = 'good') AS good,
           count(*) FILTER (WHERE counts) AS count,
           min(value) FILTER (WHERE counts) AS min,
           max(value) FILTER (WHERE counts) AS max,
           sum(sensor_platform.summable(value) ORDER BY place) FILTER (WHERE counts) AS sum,
           -- Squares of what is greater would overflow, and fail every series. regr_sxx is the sum of squares about the
           -- mean, by the method of Youngs and Cramer: large values that differ little lose nothing.
           CASE WHEN bool_and(abs(value) <= 1e140) FILTER (WHERE counts) THEN sensor_platform.summable(
               regr_sxx(0, value ORDER BY place) FILTER (WHERE counts AND abs(value) <= 1e140)
           ) END AS m2,
           min(value) FILTER (WHERE counts AND place = 1) AS first,
           min(time) FILTER (WHERE counts) AS first_time,
           min(value) FILTER (WHERE counts AND next_time IS NULL) AS last,
           max(time) FILTER (WHERE counts) AS last_time,
           CASE WHEN bool_or(counts) THEN coalesce(
               sum(sensor_platform.summable(value) * date_part('epoch', next_time - time) ORDER BY place)
                   FILTER (WHERE counts AND next_time > time),
               0
           ) END AS area
    FROM (
        SELECT judged.counts, reading.time, reading.value, reading.quality,
               row_number() OVER in_order AS place,
               lead(reading.time) OVER in_order AS next_time
        FROM sensor_platform.reading
        LEFT JOIN sensor_platform.ledger ON ledger.id = reading.micro_batch
        CROSS JOIN LATERAL (SELECT reading.quality <> 'bad' AND reading.value <> 'NaN' AS counts) AS judged
        WHERE reading.series = recomputed.series
          AND reading.time >= recomputed.bucket AND reading.time < recomputed.bucket + interval '1 minute'
          AND reading.time >= %(start)s AND reading.time < %(end)s
          AND reading.value IS NOT NULL
        WINDOW in_order AS (
            PARTITION BY judged.counts
            ORDER BY reading.time, ledger.first_received_at, ledger.name, reading.sequence, reading.ordinal
        )
    ) AS reading
) AS made
WHERE made.readings > 0
