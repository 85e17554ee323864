-- What whole micro-batches, or single messages of others, have defined until now.
DELETE FROM sensor_platform.definition
WHERE micro_batch = ANY(CAST(:micro_batches AS integer[]))
  AND (micro_batch = ANY(CAST(:whole AS integer[])) OR (micro_batch, sequence) IN (
      SELECT * FROM unnest(CAST(:message_micro_batches AS integer[]), CAST(:message_sequences AS bigint[]))
  ))
RETURNING format, key, first_received_at, name, sequence, micro_batch, content
