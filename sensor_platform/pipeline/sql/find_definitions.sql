-- Of each key the last definition before the first message of a group, and those up to its last message.
SELECT found.*
FROM unnest(CAST(:keys AS text[])) AS wanted (key)
CROSS JOIN LATERAL (
    (
        SELECT definition.key, ledger.first_received_at, ledger.name, definition.sequence, definition.content
        FROM sensor_platform.definition
        JOIN sensor_platform.ledger ON ledger.id = definition.micro_batch
        WHERE definition.format = :format AND definition.key = wanted.key
          AND (ledger.first_received_at, ledger.name, definition.sequence)
            < (CAST(:first_at AS timestamptz), CAST(:first_name AS text), CAST(:first_sequence AS bigint))
        ORDER BY ledger.first_received_at DESC, ledger.name DESC, definition.sequence DESC
        LIMIT 1
    )
    UNION ALL
    (
        SELECT definition.key, ledger.first_received_at, ledger.name, definition.sequence, definition.content
        FROM sensor_platform.definition
        JOIN sensor_platform.ledger ON ledger.id = definition.micro_batch
        WHERE definition.format = :format AND definition.key = wanted.key
          AND (ledger.first_received_at, ledger.name, definition.sequence)
            >= (CAST(:first_at AS timestamptz), CAST(:first_name AS text), CAST(:first_sequence AS bigint))
          AND (ledger.first_received_at, ledger.name, definition.sequence)
            <= (CAST(:last_at AS timestamptz), CAST(:last_name AS text), CAST(:last_sequence AS bigint))
    )
) AS found
ORDER BY found.key, found.first_received_at, found.name, found.sequence
