UPDATE sensor_platform.dead_letter_message AS message
SET payload = '', user_properties = NULL, bytes_deleted_at = :now
FROM unnest(CAST(:micro_batches AS integer[]), CAST(:sequences AS bigint[])) AS old (micro_batch, sequence)
WHERE message.micro_batch = old.micro_batch AND message.sequence = old.sequence
