-- Under the lock: messages of which a letter is held still. A load or a person may have closed the others, a retry of
-- another letter of the same message may have been first, and those whose lease ran out may have been taken.
SELECT ledger.name, letter.sequence
FROM sensor_platform.dead_letter AS letter
JOIN sensor_platform.ledger ON ledger.id = letter.micro_batch
WHERE letter.id = ANY(CAST(:ids AS bigint[])) AND letter.state = 'retrying' AND letter.next_attempt_at = :until
