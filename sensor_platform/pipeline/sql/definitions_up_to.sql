-- Every definition of some keys up to the last message of a group: for keys of which some are imagined gone.
SELECT definition.key, definition.first_received_at, definition.name, definition.sequence, content.content
FROM sensor_platform.definition
JOIN sensor_platform.definition_content AS content ON content.digest = definition.content
WHERE definition.format = :format AND definition.key = ANY(CAST(:keys AS text[]))
  AND (definition.first_received_at, definition.name, definition.sequence)
    <= (CAST(:last_at AS timestamptz), CAST(:last_name AS text), CAST(:last_sequence AS bigint))
