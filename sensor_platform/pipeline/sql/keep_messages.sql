-- A message that has open letters has here what was thinned of it, and what was too old to be kept: a retry takes both out
-- of the ledger row. Bytes that retention had deleted are back: they came again.
INSERT INTO sensor_platform.dead_letter_message AS message
    (micro_batch, sequence, received_at, topic, payload, qos, retain, content_type, user_properties, thinned, expired)
SELECT micro_batch, sequence, received_at, topic, payload, qos, retain, content_type, user_properties, thinned, expired
FROM refused_message
ON CONFLICT (micro_batch, sequence) DO UPDATE
SET thinned = excluded.thinned, expired = excluded.expired,
    payload = excluded.payload, user_properties = excluded.user_properties, bytes_deleted_at = NULL
WHERE message.thinned <> excluded.thinned OR message.expired <> excluded.expired OR message.bytes_deleted_at IS NOT NULL
