"""Sensor data for factories: MQTT in, validated metric tables out, every message accounted for."""

__version__ = "0.1.0"
