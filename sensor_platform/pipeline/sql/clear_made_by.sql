-- Made again as a whole: what an earlier retry made of single messages is told by the ledger row from now on.
UPDATE sensor_platform.dead_letter_message AS message
SET made_by = NULL
FROM scope
WHERE message.micro_batch = scope.micro_batch AND scope.sequence IS NULL AND message.made_by IS NOT NULL
