-- What is resolved is in no count: such letters go. What is discarded is in the ledger's, and a backfill must know it.
DELETE FROM sensor_platform.dead_letter AS letter
USING unnest(CAST(:micro_batches AS integer[]), CAST(:sequences AS bigint[])) AS old (micro_batch, sequence)
WHERE letter.micro_batch = old.micro_batch AND letter.sequence = old.sequence AND letter.state = 'resolved'
