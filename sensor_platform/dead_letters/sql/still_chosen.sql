-- Under the lock: messages of which a chosen letter is still open. A load or a person may have closed the others.
SELECT ledger.name, letter.sequence
FROM sensor_platform.dead_letter AS letter
JOIN sensor_platform.ledger ON ledger.id = letter.micro_batch
WHERE letter.id = ANY(CAST(:ids AS bigint[])) AND letter.state IN ('pending', 'retrying', 'exhausted')
