-- Letters that are still open lose their bytes too where the settings say so: they could not be retried.
UPDATE sensor_platform.dead_letter AS letter
SET state = 'discarded', next_attempt_at = NULL, closed_at = :now, closed_by = 'retention',
    closed_why = 'older than DEAD_LETTER_RETENTION_DAYS'
FROM unnest(CAST(:micro_batches AS integer[]), CAST(:sequences AS bigint[])) AS old (micro_batch, sequence)
WHERE letter.micro_batch = old.micro_batch AND letter.sequence = old.sequence
  AND letter.state NOT IN ('resolved', 'discarded')
