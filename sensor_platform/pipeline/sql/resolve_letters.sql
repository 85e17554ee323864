-- Letters of the scope that are not refused any more.
UPDATE sensor_platform.dead_letter AS letter
SET state = 'resolved', next_attempt_at = NULL, closed_at = clock_timestamp(), closed_by = :by, closed_why = 'not refused'
FROM scope
WHERE letter.micro_batch = scope.micro_batch
  AND (scope.sequence IS NULL OR letter.sequence = scope.sequence)
  AND letter.state <> 'resolved'
  AND NOT EXISTS (
        SELECT FROM refused
        WHERE refused.micro_batch = letter.micro_batch
          AND refused.sequence = letter.sequence
          AND refused.ordinal = letter.ordinal
  )
