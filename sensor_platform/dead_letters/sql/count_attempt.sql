-- Letters of the scope that are still open were refused again. Those of an exhausted one that was not chosen, of a
-- discarded one, and those that this transaction made have nothing to count.
UPDATE sensor_platform.dead_letter AS letter
SET attempts = letter.attempts + 1,
    state = CASE WHEN letter.attempts + 1 >= :max_attempts THEN 'exhausted' ELSE 'pending' END,
    next_attempt_at = CASE
        WHEN letter.attempts + 1 >= :max_attempts THEN NULL
        ELSE CAST(:now AS timestamptz)
             + least(:first_backoff_s * power(2.0, least(letter.attempts + 1, 30)), :max_backoff_s)
               * interval '1 second'
    END
FROM scope
WHERE letter.micro_batch = scope.micro_batch
  AND letter.sequence = scope.sequence
  AND letter.state IN ('pending', 'retrying')
  AND letter.created_at < now()
