SELECT letter.id, letter.state, letter.stage, letter.code, letter.detail, letter.attempts, letter.next_attempt_at
FROM sensor_platform.dead_letter AS letter
WHERE letter.id = ANY(CAST(:ids AS bigint[]))
   OR EXISTS (
        SELECT FROM scope
        WHERE scope.micro_batch = letter.micro_batch
          AND scope.sequence = letter.sequence
          AND letter.created_at = now()
   )
ORDER BY letter.id
