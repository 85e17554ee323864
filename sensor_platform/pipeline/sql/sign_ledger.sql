-- Who made these micro-batches, and with what.
UPDATE sensor_platform.ledger
SET route_versions = CAST(:routes AS jsonb),
    transformer_versions = CAST(:transformers AS jsonb),
    run_id = :run_id,
    registry_as_of = :registry_as_of,
    attempt = attempt + 1,
    committed_at = clock_timestamp()
WHERE id = ANY(CAST(:micro_batches AS integer[]))
