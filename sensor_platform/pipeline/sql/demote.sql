-- A standing reading that equals an incoming one and was received later changes places with it.
WITH demoted AS (
    DELETE FROM sensor_platform.metric AS reading
    USING incoming, sensor_platform.ledger AS incoming_ledger, sensor_platform.ledger AS reading_ledger
    WHERE reading.series = incoming.series
      AND reading.time = incoming.time
      AND reading.time >= :least AND reading.time <= :greatest
      AND reading.value IS NOT DISTINCT FROM incoming.value
      AND reading.text = incoming.text
      AND reading.quality = incoming.quality
      AND NOT reading.timed_by_receipt
      AND NOT incoming.timed_by_receipt
      AND incoming_ledger.id = incoming.micro_batch
      AND reading_ledger.id = reading.micro_batch
      AND (reading_ledger.first_received_at, reading_ledger.name, reading.sequence, reading.ordinal)
          > (incoming_ledger.first_received_at, incoming_ledger.name, incoming.sequence, incoming.ordinal)
    RETURNING reading.*
), aside AS (
    INSERT INTO sensor_platform.metric_duplicate
        (time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit)
    SELECT time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit FROM demoted
)
INSERT INTO touched (change, time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit)
SELECT -1, time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit FROM demoted
