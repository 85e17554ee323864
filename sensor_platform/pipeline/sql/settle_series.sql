-- Values of a series have changed: readings that were equal may differ now, others have become equal. Of equal ones the
-- first in received order stands.
WITH crowded AS (
    SELECT time
    FROM (
        SELECT time FROM sensor_platform.metric WHERE series = :series
        UNION ALL
        SELECT time FROM sensor_platform.metric_duplicate WHERE series = :series
    ) AS reading
    GROUP BY time
    HAVING count(*) > 1
), reading AS (
    SELECT true AS standing, metric.tableoid AS part, metric.ctid AS row,
           time, value, text, quality, micro_batch, sequence, ordinal
    FROM sensor_platform.metric JOIN crowded USING (time)
    WHERE series = :series AND NOT timed_by_receipt
    UNION ALL
    SELECT false, aside.tableoid, aside.ctid, time, value, text, quality, micro_batch, sequence, ordinal
    FROM sensor_platform.metric_duplicate AS aside JOIN crowded USING (time)
    WHERE series = :series AND NOT timed_by_receipt
), placed AS (
    SELECT reading.standing, reading.part, reading.row,
           row_number() OVER (
               PARTITION BY reading.time, reading.value, reading.text, reading.quality
               ORDER BY ledger.first_received_at, ledger.name, reading.sequence, reading.ordinal
           ) = 1 AS is_first
    FROM reading JOIN sensor_platform.ledger ON ledger.id = reading.micro_batch
), demoted AS (
    DELETE FROM sensor_platform.metric AS reading
    USING placed
    WHERE placed.standing AND NOT placed.is_first
      AND reading.series = :series AND reading.tableoid = placed.part AND reading.ctid = placed.row
    RETURNING reading.*
), promoted AS (
    DELETE FROM sensor_platform.metric_duplicate AS reading
    USING placed
    WHERE NOT placed.standing AND placed.is_first
      AND reading.series = :series AND reading.tableoid = placed.part AND reading.ctid = placed.row
    RETURNING reading.*
), aside AS (
    INSERT INTO sensor_platform.metric_duplicate
        (time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit)
    SELECT time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit FROM demoted
), stood AS (
    INSERT INTO sensor_platform.metric
        (time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit)
    SELECT time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit FROM promoted
), marked AS (
    INSERT INTO sensor_platform.changed_bucket (level, series, bucket)
    SELECT 'minute', series, date_trunc('minute', time, 'UTC') FROM demoted
    UNION
    SELECT 'minute', series, date_trunc('minute', time, 'UTC') FROM promoted
)
INSERT INTO touched (change, time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit)
SELECT -1, time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit FROM demoted
UNION ALL
SELECT 1, time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit FROM promoted
