-- The newest definition of each key in received order: one step down the index for each.
SELECT newest.key, newest.content
FROM unnest(CAST(:keys AS text[])) AS wanted (key)
CROSS JOIN LATERAL (
    SELECT definition.key, definition.content
    FROM sensor_platform.definition
    WHERE definition.format = :format AND definition.key = wanted.key
    ORDER BY first_received_at DESC, name DESC, sequence DESC
    LIMIT 1
) AS newest
