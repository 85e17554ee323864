INSERT INTO sensor_platform.dead_letter_message
    (micro_batch, sequence, received_at, topic, payload, qos, retain, content_type, user_properties)
SELECT micro_batch, sequence, received_at, topic, payload, qos, retain, content_type, user_properties
FROM refused_message
ON CONFLICT DO NOTHING
