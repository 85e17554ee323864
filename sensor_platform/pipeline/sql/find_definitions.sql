-- Of each key the last definition before the first message of a group, and those up to its last message.
SELECT found.*
FROM unnest(CAST(:keys AS text[])) AS wanted (key)
CROSS JOIN LATERAL (
    (
        SELECT key, first_received_at, name, sequence, content
        FROM sensor_platform.definition
        WHERE format = :format AND key = wanted.key
          AND (first_received_at, name, sequence)
            < (CAST(:first_at AS timestamptz), CAST(:first_name AS text), CAST(:first_sequence AS bigint))
        ORDER BY first_received_at DESC, name DESC, sequence DESC
        LIMIT 1
    )
    UNION ALL
    (
        SELECT key, first_received_at, name, sequence, content
        FROM sensor_platform.definition
        WHERE format = :format AND key = wanted.key
          AND (first_received_at, name, sequence)
            >= (CAST(:first_at AS timestamptz), CAST(:first_name AS text), CAST(:first_sequence AS bigint))
          AND (first_received_at, name, sequence)
            <= (CAST(:last_at AS timestamptz), CAST(:last_name AS text), CAST(:last_sequence AS bigint))
    )
) AS found
ORDER BY found.key, found.first_received_at, found.name, found.sequence
