-- Days whose readings retention deleted, and is to keep again, where no micro-batch with readings about that day lacks
-- some: a backfill brought them all back. What was loaded since the horizon moved back lacks only what is older still.
-- One pass over the ledger, and none where no such day is gone.
WITH horizon AS MATERIALIZED (
    SELECT max(kept_from) AS kept_from, max(moved_back_at) AS moved_back_at
    FROM sensor_platform.retention
    WHERE level = 'raw'
), lacking AS MATERIALIZED (
    SELECT range_agg(tstzrange(ledger.least_time, ledger.greatest_time, '[]')) AS times
    FROM sensor_platform.ledger CROSS JOIN horizon
    WHERE ledger.expired > 0 AND (ledger.committed_at >= horizon.moved_back_at) IS NOT TRUE
)
SELECT gone_day.day
FROM sensor_platform.gone_day CROSS JOIN horizon
WHERE gone_day.level = 'raw'
  AND (gone_day.day < horizon.kept_from) IS NOT TRUE
  AND (gone_day.day < CAST(:first AS timestamptz)) IS NOT TRUE
  AND (gone_day.day > CAST(:last AS timestamptz)) IS NOT TRUE
  AND NOT coalesce(
        (SELECT times FROM lacking) && tstzrange(gone_day.day, gone_day.day + interval '24 hours'), false
  )
ORDER BY gone_day.day
