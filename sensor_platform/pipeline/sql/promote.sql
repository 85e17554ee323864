-- Where a standing reading went and nothing as early comes in its place, the next of its duplicates stands.
WITH gone AS (
    SELECT DISTINCT removed.series, removed.time, removed.value, removed.text, removed.quality
    FROM removed
    JOIN sensor_platform.ledger AS removed_ledger ON removed_ledger.id = removed.micro_batch
    WHERE removed.standing
      AND NOT removed.timed_by_receipt
      AND NOT EXISTS (
            SELECT
            FROM incoming
            JOIN sensor_platform.ledger AS incoming_ledger ON incoming_ledger.id = incoming.micro_batch
            WHERE incoming.series = removed.series
              AND incoming.time = removed.time
              AND incoming.value IS NOT DISTINCT FROM removed.value
              AND incoming.text = removed.text
              AND incoming.quality = removed.quality
              AND NOT incoming.timed_by_receipt
              AND (incoming_ledger.first_received_at, incoming_ledger.name, incoming.sequence, incoming.ordinal)
                  <= (removed_ledger.first_received_at, removed_ledger.name, removed.sequence, removed.ordinal)
      )
), next AS (
    SELECT DISTINCT ON (aside.series, aside.time, aside.value, aside.text, aside.quality) aside.ctid AS row
    FROM gone
    JOIN sensor_platform.metric_duplicate AS aside
      ON aside.series = gone.series
     AND aside.time = gone.time
     AND aside.value IS NOT DISTINCT FROM gone.value
     AND aside.text = gone.text
     AND aside.quality = gone.quality
    JOIN sensor_platform.ledger ON ledger.id = aside.micro_batch
    ORDER BY aside.series, aside.time, aside.value, aside.text, aside.quality,
             ledger.first_received_at, ledger.name, aside.sequence, aside.ordinal
), promoted AS (
    DELETE FROM sensor_platform.metric_duplicate AS aside
    USING next
    WHERE aside.ctid = next.row
    RETURNING aside.*
), stood AS (
    INSERT INTO sensor_platform.metric
        (time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit)
    SELECT time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit FROM promoted
)
INSERT INTO touched (change, time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit)
SELECT 1, time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit FROM promoted
