-- What still equals a standing reading was received after it: a duplicate. `demote` has run before.
WITH repeated AS (
    DELETE FROM incoming
    WHERE NOT incoming.timed_by_receipt
      AND EXISTS (
            SELECT
            FROM sensor_platform.metric AS reading
            WHERE reading.series = incoming.series
              AND reading.time = incoming.time
              AND reading.time >= :least AND reading.time <= :greatest
              AND reading.value IS NOT DISTINCT FROM incoming.value
              AND reading.text = incoming.text
              AND reading.quality = incoming.quality
              AND NOT reading.timed_by_receipt
      )
    RETURNING incoming.*
), aside AS (
    INSERT INTO sensor_platform.metric_duplicate
        (time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit)
    SELECT time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit FROM repeated
)
SELECT place FROM repeated
