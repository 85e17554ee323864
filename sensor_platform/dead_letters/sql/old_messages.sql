-- Messages whose letters are all of these states, and closed (open ones: made) before then.
SELECT message.micro_batch, message.sequence
FROM sensor_platform.dead_letter_message AS message
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
