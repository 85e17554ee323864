UPDATE sensor_platform.dead_letter_message AS message
SET made_by = CAST(:made_by AS jsonb)
FROM scope
WHERE message.micro_batch = scope.micro_batch AND message.sequence = scope.sequence
