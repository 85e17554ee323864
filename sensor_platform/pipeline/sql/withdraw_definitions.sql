-- What whole micro-batches, or single messages of others, have defined until now.
DELETE FROM sensor_platform.definition
WHERE micro_batch = ANY(CAST(:whole AS integer[]))
   OR (micro_batch, sequence) IN (
       SELECT * FROM unnest(CAST(:micro_batches AS integer[]), CAST(:sequences AS bigint[]))
   )
RETURNING format, key, micro_batch, sequence, content
