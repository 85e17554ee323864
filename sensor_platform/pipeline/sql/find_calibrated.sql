-- Micro-batches of which readings stand, or lie aside, at times of which the calibration is another now.
WITH changed AS (
    SELECT * FROM unnest(
        CAST(:series AS integer[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[])
    ) AS one (series, starts, ends)
)
SELECT metric.micro_batch
FROM changed
JOIN sensor_platform.metric ON metric.series = changed.series
 AND metric.time >= coalesce(changed.starts, '-infinity') AND metric.time < coalesce(changed.ends, 'infinity')
UNION
SELECT aside.micro_batch
FROM changed
JOIN sensor_platform.metric_duplicate AS aside ON aside.series = changed.series
 AND aside.time >= coalesce(changed.starts, '-infinity') AND aside.time < coalesce(changed.ends, 'infinity')
