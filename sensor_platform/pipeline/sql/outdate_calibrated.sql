-- Micro-batches of which readings stand whose calibration is another than the one that they were made with, by received
-- hour; those whose bytes retention has deleted keep what they have.
WITH changed AS (
    SELECT * FROM unnest(
        CAST(:series AS integer[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[])
    ) AS one (series, starts, ends)
), concerned AS (
    SELECT metric.micro_batch
    FROM changed
    JOIN sensor_platform.metric ON metric.series = changed.series
     AND metric.time >= coalesce(changed.starts, '-infinity') AND metric.time < coalesce(changed.ends, 'infinity')
    UNION
    SELECT aside.micro_batch
    FROM changed
    JOIN sensor_platform.metric_duplicate AS aside ON aside.series = changed.series
     AND aside.time >= coalesce(changed.starts, '-infinity') AND aside.time < coalesce(changed.ends, 'infinity')
), marked AS (
    UPDATE sensor_platform.ledger SET definitions_changed_at = now()
    FROM concerned
    WHERE ledger.id = concerned.micro_batch AND ledger.bytes_deleted_at IS NULL
)
SELECT ledger.hour, count(*) FILTER (WHERE ledger.bytes_deleted_at IS NULL) AS outdated,
       count(*) FILTER (WHERE ledger.bytes_deleted_at IS NOT NULL) AS kept
FROM concerned
JOIN sensor_platform.ledger ON ledger.id = concerned.micro_batch
GROUP BY ledger.hour
ORDER BY ledger.hour
