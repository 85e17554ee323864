-- Loaded micro-batches in these stretches of received order, each of them from one micro-batch to another (none: without
-- end), as far as they have messages of its format.
UPDATE sensor_platform.ledger
SET definitions_changed_at = now()
FROM unnest(CAST(:formats AS text[]), CAST(:firsts AS text[]), CAST(:lasts AS text[]))
    AS stretch (format, first, last)
JOIN sensor_platform.ledger AS first ON first.name = stretch.first
LEFT JOIN sensor_platform.ledger AS last ON last.name = stretch.last
WHERE ledger.hour BETWEEN first.hour AND coalesce(last.hour, 'infinity')
  AND (ledger.first_received_at, ledger.name) >= (first.first_received_at, first.name)
  AND (last.id IS NULL OR (ledger.first_received_at, ledger.name) <= (last.first_received_at, last.name))
  AND ledger.definitions_changed_at IS NULL
  AND ledger.bytes_deleted_at IS NULL
  AND ledger.id <> ALL(CAST(:made_now AS integer[]))
  AND (
      jsonb_exists(ledger.transformer_versions, stretch.format)
      -- A retry may have taken another route than the load did.
      OR EXISTS (
          SELECT
          FROM sensor_platform.dead_letter_message AS message
          WHERE message.micro_batch = ledger.id AND jsonb_exists(message.made_by -> 'transformers', stretch.format)
      )
  )
