-- Where in received order the newest definition of each key stands: one step down the index for each.
SELECT newest.key, newest.first_received_at, newest.name, newest.sequence
FROM unnest(CAST(:keys AS text[])) AS wanted (key)
CROSS JOIN LATERAL (
    SELECT definition.key, first_received_at, name, sequence
    FROM sensor_platform.definition
    WHERE definition.format = :format AND definition.key = wanted.key
    ORDER BY first_received_at DESC, name DESC, sequence DESC
    LIMIT 1
) AS newest
