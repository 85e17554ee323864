-- The newest definitions of each key before a message, newest first, and which messages said them.
SELECT found.*
FROM sensor_platform.ledger AS place
CROSS JOIN unnest(CAST(:keys AS text[])) AS wanted (key)
CROSS JOIN LATERAL (
    SELECT definition.key, ledger.first_received_at, ledger.name, definition.sequence, content.content
    FROM sensor_platform.definition
    JOIN sensor_platform.ledger ON ledger.id = definition.micro_batch
    JOIN sensor_platform.definition_content AS content ON content.digest = definition.content
    WHERE definition.format = :format AND definition.key = wanted.key
      AND (ledger.first_received_at, ledger.name, definition.sequence)
        < (place.first_received_at, place.name, CAST(:sequence AS bigint))
    ORDER BY ledger.first_received_at DESC, ledger.name DESC, definition.sequence DESC
    LIMIT :most
) AS found
WHERE place.name = :micro_batch
