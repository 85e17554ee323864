-- Messages that have no letters any more. One that a retry made stays: `trace` says by it with what that was.
DELETE FROM sensor_platform.dead_letter_message AS message
USING unnest(CAST(:micro_batches AS integer[]), CAST(:sequences AS bigint[])) AS old (micro_batch, sequence)
WHERE message.micro_batch = old.micro_batch AND message.sequence = old.sequence AND message.made_by IS NULL
  AND NOT EXISTS (
        SELECT
        FROM sensor_platform.dead_letter AS letter
        WHERE letter.micro_batch = message.micro_batch AND letter.sequence = message.sequence
  )
