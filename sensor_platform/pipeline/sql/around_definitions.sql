-- What stands around the places of each key that a load changes: the last before them, all among them, the next one.
SELECT wanted.format, wanted.key, around.first_received_at, around.name, around.sequence, around.content
FROM unnest(
    CAST(:formats AS text[]), CAST(:keys AS text[]),
    CAST(:first_at AS timestamptz[]), CAST(:first_names AS text[]), CAST(:first_sequences AS bigint[]),
    CAST(:last_at AS timestamptz[]), CAST(:last_names AS text[]), CAST(:last_sequences AS bigint[])
) AS wanted (format, key, first_at, first_name, first_sequence, last_at, last_name, last_sequence)
CROSS JOIN LATERAL (
    (
        SELECT first_received_at, name, sequence, content
        FROM sensor_platform.definition
        WHERE format = wanted.format AND key = wanted.key
          AND (first_received_at, name, sequence) < (wanted.first_at, wanted.first_name, wanted.first_sequence)
        ORDER BY first_received_at DESC, name DESC, sequence DESC
        LIMIT 1
    )
    UNION ALL
    (
        SELECT first_received_at, name, sequence, content
        FROM sensor_platform.definition
        WHERE format = wanted.format AND key = wanted.key
          AND (first_received_at, name, sequence) >= (wanted.first_at, wanted.first_name, wanted.first_sequence)
          AND (first_received_at, name, sequence) <= (wanted.last_at, wanted.last_name, wanted.last_sequence)
    )
    UNION ALL
    (
        SELECT first_received_at, name, sequence, content
        FROM sensor_platform.definition
        WHERE format = wanted.format AND key = wanted.key
          AND (first_received_at, name, sequence) > (wanted.last_at, wanted.last_name, wanted.last_sequence)
        ORDER BY first_received_at, name, sequence
        LIMIT 1
    )
) AS around
