-- A message that has open letters has here what was thinned of it: a retry takes that out of the ledger row.
INSERT INTO sensor_platform.dead_letter_message AS message
    (micro_batch, sequence, received_at, topic, payload, qos, retain, content_type, user_properties, thinned)
SELECT micro_batch, sequence, received_at, topic, payload, qos, retain, content_type, user_properties, thinned
FROM refused_message
ON CONFLICT (micro_batch, sequence) DO UPDATE SET thinned = excluded.thinned WHERE message.thinned <> excluded.thinned
