-- The newest message of each topic that waits for a birth.
SELECT DISTINCT ON (message.topic) message.topic, ledger.first_received_at, ledger.name, message.sequence
FROM sensor_platform.dead_letter AS letter
JOIN sensor_platform.dead_letter_message AS message
  ON message.micro_batch = letter.micro_batch AND message.sequence = letter.sequence
JOIN sensor_platform.ledger ON ledger.id = letter.micro_batch
WHERE letter.code IN ('no_birth', 'unknown_alias')
  AND letter.state IN ('pending', 'retrying')
  AND message.received_at >= :since
  AND ledger.last_received_at >= :since
ORDER BY message.topic, ledger.first_received_at DESC, ledger.name DESC, message.sequence DESC
