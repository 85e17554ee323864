-- Under the lock: those of `old_messages` that are still as that found them.
SELECT message.micro_batch, message.sequence
FROM unnest(CAST(:micro_batches AS integer[]), CAST(:sequences AS bigint[])) AS old (micro_batch, sequence)
JOIN sensor_platform.dead_letter_message AS message
  ON message.micro_batch = old.micro_batch AND message.sequence = old.sequence
WHERE message.bytes_deleted_at IS NULL
  AND NOT EXISTS (
        SELECT
        FROM sensor_platform.dead_letter AS letter
        WHERE letter.micro_batch = message.micro_batch
          AND letter.sequence = message.sequence
          AND NOT (
                letter.state = ANY(CAST(:states AS text[])) AND coalesce(letter.closed_at, letter.created_at) < :before
          )
  )
