-- Of those that are held still. One that another retry has taken meanwhile has a later end.
UPDATE sensor_platform.dead_letter
SET next_attempt_at = :extended
WHERE id = ANY(CAST(:ids AS bigint[])) AND state = 'retrying' AND next_attempt_at = :until
