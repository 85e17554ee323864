"""Alembic migrations of the schema `sensor_platform`; `database.migrate` runs them."""
