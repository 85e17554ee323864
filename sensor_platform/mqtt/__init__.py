"""MQTT: the connection, the fast read path, the collector and its control, the publisher."""
