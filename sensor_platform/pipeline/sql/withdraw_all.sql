-- Before a micro-batch is made again, its ledger row says nothing.
UPDATE sensor_platform.ledger
SET staged = 0, accepted = 0, partial = 0, dead_lettered = 0, duplicate = 0, ignored = 0,
    decoded = 0, inserted = 0, duplicate_readings = 0, refused = 0, thinned = 0, expired = 0, conflicts = 0,
    least_time = NULL, greatest_time = NULL, definitions_changed_at = NULL
WHERE id = ANY(CAST(:micro_batches AS integer[]))
