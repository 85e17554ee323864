-- Letters that could not be judged: nothing was decided about them, and they wait as after a failed attempt. It counts
-- as one (`counted` 1) only where waiting will not help, so that a person is asked in the end.
UPDATE sensor_platform.dead_letter AS letter
SET attempts = letter.attempts + :counted,
    state = CASE WHEN letter.attempts + :counted >= :max_attempts THEN 'exhausted' ELSE 'pending' END,
    next_attempt_at = CASE
        WHEN letter.attempts + :counted >= :max_attempts THEN NULL
        ELSE CAST(:now AS timestamptz)
             + least(:first_backoff_s * power(2.0, least(letter.attempts + :counted, 30)), :max_backoff_s)
               * interval '1 second'
    END
WHERE letter.id = ANY(CAST(:ids AS bigint[]))
  AND letter.state = 'retrying'
  AND letter.next_attempt_at = :until
  AND (letter.micro_batch, letter.sequence) IN (
        SELECT * FROM unnest(CAST(:micro_batches AS integer[]), CAST(:sequences AS bigint[]))
    )
