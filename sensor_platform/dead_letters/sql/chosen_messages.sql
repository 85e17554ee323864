-- The messages of the chosen letters, in received order, with what a retry has to hold in memory for each.
SELECT ledger.id AS micro_batch, ledger.hour, message.sequence, message.topic, length(message.payload) AS payload_bytes
FROM sensor_platform.dead_letter_message AS message
JOIN sensor_platform.ledger ON ledger.id = message.micro_batch
WHERE EXISTS (
    SELECT FROM sensor_platform.dead_letter AS letter
    WHERE letter.micro_batch = message.micro_batch
      AND letter.sequence = message.sequence
      AND letter.id = ANY(CAST(:ids AS bigint[]))
)
ORDER BY ledger.first_received_at, ledger.name, message.sequence
