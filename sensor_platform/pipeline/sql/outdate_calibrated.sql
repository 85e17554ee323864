-- Marks micro-batches: those that were found, and those loaded since whose readings may be of the times concerned. By
-- received hour; those whose bytes retention has deleted keep what they have.
WITH concerned AS (
    SELECT unnest(CAST(:found AS integer[])) AS id
    UNION
    SELECT ledger.id
    FROM sensor_platform.ledger
    JOIN unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[])) AS changed (starts, ends)
      ON ledger.greatest_time >= coalesce(changed.starts, '-infinity')
     AND ledger.least_time < coalesce(changed.ends, 'infinity')
    WHERE ledger.id > :newest
), marked AS (
    UPDATE sensor_platform.ledger SET definitions_changed_at = now()
    FROM concerned
    WHERE ledger.id = concerned.id AND ledger.bytes_deleted_at IS NULL
)
SELECT ledger.hour, count(*) FILTER (WHERE ledger.bytes_deleted_at IS NULL) AS outdated,
       count(*) FILTER (WHERE ledger.bytes_deleted_at IS NOT NULL) AS kept
FROM concerned
JOIN sensor_platform.ledger ON ledger.id = concerned.id
GROUP BY ledger.hour
ORDER BY ledger.hour
