-- The chosen letters of some messages, and those that this retry has made of them.
SELECT letter.id, letter.state, letter.stage, letter.code, letter.detail, letter.attempts, letter.next_attempt_at
FROM sensor_platform.dead_letter AS letter
WHERE (letter.micro_batch, letter.sequence) IN (
        SELECT * FROM unnest(CAST(:micro_batches AS integer[]), CAST(:sequences AS bigint[]))
    )
  AND (letter.id = ANY(CAST(:ids AS bigint[])) OR letter.created_at = now())
ORDER BY letter.id
