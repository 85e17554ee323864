-- Loaded micro-batches that stand after a definition which was not known when they were decoded, up to the next one of
-- its key. A new one that says what was in force already changes nothing; what was in force is what stood before this load.
WITH changed AS (
    SELECT one.*, ledger.hour, ledger.first_received_at, ledger.name
    FROM unnest(
        CAST(:format AS text[]), CAST(:key AS text[]), CAST(:micro_batch AS integer[]), CAST(:sequence AS bigint[]),
        CAST(:replaced AS boolean[])
    ) AS one (format, key, micro_batch, sequence, replaced)
    JOIN sensor_platform.ledger ON ledger.id = one.micro_batch
), placed AS (
    SELECT definition.format, definition.key, definition.sequence, definition.content, definition.micro_batch,
           ledger.first_received_at, ledger.name
    FROM sensor_platform.definition
    JOIN sensor_platform.ledger ON ledger.id = definition.micro_batch
    WHERE (definition.format, definition.key) IN (SELECT format, key FROM changed)
), effective AS (
    SELECT changed.*
    FROM changed
    LEFT JOIN placed AS own
      ON own.format = changed.format AND own.key = changed.key
     AND own.micro_batch = changed.micro_batch AND own.sequence = changed.sequence
    LEFT JOIN LATERAL (
        SELECT placed.content
        FROM placed
        WHERE placed.format = changed.format AND placed.key = changed.key
          AND (placed.first_received_at, placed.name, placed.sequence)
            < (changed.first_received_at, changed.name, changed.sequence)
          AND NOT EXISTS (
              SELECT
              FROM changed AS also
              WHERE (also.format, also.key, also.micro_batch, also.sequence)
                  = (placed.format, placed.key, placed.micro_batch, placed.sequence)
          )
        ORDER BY placed.first_received_at DESC, placed.name DESC, placed.sequence DESC
        LIMIT 1
    ) AS before ON true
    WHERE changed.replaced OR own.content IS DISTINCT FROM before.content OR own.content IS NULL
)
UPDATE sensor_platform.ledger
SET definitions_changed_at = now()
FROM effective
WHERE ledger.hour >= effective.hour
  AND (ledger.first_received_at, ledger.name) >= (effective.first_received_at, effective.name)
  AND ledger.id <> ALL(CAST(:made_now AS integer[]))
  AND ledger.bytes_deleted_at IS NULL
  AND jsonb_exists(ledger.transformer_versions, effective.format)
  AND NOT EXISTS (
      SELECT
      FROM placed AS following
      WHERE following.format = effective.format AND following.key = effective.key
        AND (following.first_received_at, following.name, following.sequence)
          > (effective.first_received_at, effective.name, effective.sequence)
        AND (following.first_received_at, following.name) < (ledger.first_received_at, ledger.name)
  )
