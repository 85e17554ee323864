-- Ledger rows that name a version of a route or transformer which is not that of today, or no longer there.
SELECT ledger.hour, count(DISTINCT ledger.id) AS micro_batches, array_agg(DISTINCT made.name ORDER BY made.name) AS by
FROM sensor_platform.ledger
CROSS JOIN LATERAL (
    SELECT name, said.described ->> 'version' AS version, CAST(:routes AS jsonb) ->> name AS today
    FROM jsonb_each(ledger.route_versions) AS said (name, described)
    UNION ALL
    SELECT name, version, CAST(:transformers AS jsonb) ->> name
    FROM jsonb_each_text(ledger.transformer_versions) AS said (name, version)
) AS made
WHERE ledger.bytes_deleted_at IS NULL AND made.version IS DISTINCT FROM made.today
GROUP BY ledger.hour
ORDER BY ledger.hour
