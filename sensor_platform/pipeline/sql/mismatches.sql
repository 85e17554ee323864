-- The ledger against what stands. The event times of the ledger rows looked at bound the reading of `metric`. What is
-- older than is kept does not count, whether it is deleted already or not.
WITH looked_at AS MATERIALIZED (
    SELECT * FROM sensor_platform.ledger
    WHERE (CAST(:since AS timestamptz) IS NULL OR last_received_at >= CAST(:since AS timestamptz))
      AND (CAST(:committed_since AS timestamptz) IS NULL OR committed_at >= CAST(:committed_since AS timestamptz))
      AND (CAST(:run_id AS text) IS NULL OR run_id = CAST(:run_id AS text))
), bounds AS (
    SELECT greatest(min(least_time), (SELECT kept_from FROM sensor_platform.retention WHERE level = 'raw')) AS least,
           max(greatest_time) AS greatest
    FROM looked_at
), standing AS (
    SELECT micro_batch, count(*) AS n
    FROM sensor_platform.metric
    WHERE micro_batch = ANY(ARRAY(SELECT id FROM looked_at))
      AND time >= (SELECT least FROM bounds) AND time <= (SELECT greatest FROM bounds)
    GROUP BY micro_batch
), aside AS (
    SELECT micro_batch, count(*) AS n
    FROM sensor_platform.metric_duplicate
    WHERE micro_batch IN (SELECT id FROM looked_at) AND time >= (SELECT least FROM bounds)
    GROUP BY micro_batch
), letters AS (
    SELECT micro_batch,
           count(*) FILTER (WHERE ordinal >= 0) AS readings,
           count(DISTINCT sequence) AS messages
    FROM sensor_platform.dead_letter
    WHERE state <> 'resolved' AND micro_batch IN (SELECT id FROM looked_at)
    GROUP BY micro_batch
)
SELECT looked_at.name, compared.what, compared.said, compared.found
FROM looked_at
LEFT JOIN standing ON standing.micro_batch = looked_at.id
LEFT JOIN aside ON aside.micro_batch = looked_at.id
LEFT JOIN letters ON letters.micro_batch = looked_at.id
CROSS JOIN LATERAL (
    VALUES
        ('readings inserted', looked_at.inserted - looked_at.expired, coalesce(standing.n, 0)),
        ('readings duplicate', looked_at.duplicate_readings, coalesce(aside.n, 0)),
        ('readings refused', looked_at.refused, coalesce(letters.readings, 0)),
        ('messages with dead letters', looked_at.partial + looked_at.dead_lettered, coalesce(letters.messages, 0))
) AS compared (what, said, found)
WHERE compared.said <> compared.found
ORDER BY looked_at.first_received_at, looked_at.name, compared.what
