-- Takes the readings of the scope out of both tables. A null sequence in the scope means the whole micro-batch.
-- The ledger's least and greatest event time prune the partitions, the BRIN index on micro_batch their pages. What is
-- older than is kept is gone for the ledger, and is left to retention.
WITH bounds AS (
    SELECT greatest(min(least_time), (SELECT kept_from FROM sensor_platform.retention WHERE level = 'raw')) AS least,
           max(greatest_time) AS greatest
    FROM sensor_platform.ledger
    WHERE id = ANY(CAST(:micro_batches AS integer[]))
), standing AS (
    DELETE FROM sensor_platform.metric AS reading
    USING scope
    WHERE reading.micro_batch = ANY(CAST(:micro_batches AS integer[]))
      AND reading.time >= (SELECT least FROM bounds) AND reading.time <= (SELECT greatest FROM bounds)
      AND reading.micro_batch = scope.micro_batch
      AND (scope.sequence IS NULL OR reading.sequence = scope.sequence)
    RETURNING reading.*
), aside AS (
    DELETE FROM sensor_platform.metric_duplicate AS reading
    USING scope
    WHERE reading.micro_batch = scope.micro_batch
      AND reading.time >= (SELECT least FROM bounds)
      AND (scope.sequence IS NULL OR reading.sequence = scope.sequence)
    RETURNING reading.*
)
INSERT INTO removed
    (standing, time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit)
SELECT true, time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit FROM standing
UNION ALL
SELECT false, time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit FROM aside
