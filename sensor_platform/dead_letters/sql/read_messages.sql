SELECT message.*, ledger.name, ledger.hour, ledger.first_received_at, ledger.last_received_at
FROM unnest(CAST(:micro_batches AS integer[]), CAST(:sequences AS bigint[])) AS wanted (micro_batch, sequence)
JOIN sensor_platform.dead_letter_message AS message
  ON message.micro_batch = wanted.micro_batch AND message.sequence = wanted.sequence
JOIN sensor_platform.ledger ON ledger.id = message.micro_batch
ORDER BY ledger.first_received_at, ledger.name, message.sequence
