-- The newest definitions of each key before a message, newest first, and which messages said them.
SELECT found.key, found.first_received_at, found.name, found.sequence, content.content
FROM sensor_platform.ledger AS place
CROSS JOIN unnest(CAST(:keys AS text[])) AS wanted (key)
CROSS JOIN LATERAL (
    SELECT definition.key, first_received_at, name, sequence, definition.content
    FROM sensor_platform.definition
    WHERE definition.format = :format AND definition.key = wanted.key
      AND (first_received_at, name, sequence)
        < (place.first_received_at, place.name, CAST(:sequence AS bigint))
    ORDER BY first_received_at DESC, name DESC, sequence DESC
    LIMIT :most
) AS found
JOIN sensor_platform.definition_content AS content ON content.digest = found.content
WHERE place.name = :micro_batch
ORDER BY found.key, found.first_received_at DESC, found.name DESC, found.sequence DESC
