-- Taken by this retry. Another one that comes meanwhile finds them retrying and leaves them alone.
UPDATE sensor_platform.dead_letter
SET state = 'retrying', next_attempt_at = :until
WHERE id = ANY(CAST(:ids AS bigint[]))
  AND (state IN ('pending', 'exhausted') OR (state = 'retrying' AND next_attempt_at <= :now))
RETURNING id
