-- Where in received order the newest definition of each key stands.
SELECT DISTINCT ON (definition.key) definition.key, ledger.first_received_at, ledger.name, definition.sequence
FROM sensor_platform.definition
JOIN sensor_platform.ledger ON ledger.id = definition.micro_batch
WHERE definition.format = :format AND definition.key = ANY(CAST(:keys AS text[]))
ORDER BY definition.key, ledger.first_received_at DESC, ledger.name DESC, definition.sequence DESC
