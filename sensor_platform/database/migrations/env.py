"""Run by Alembic, on the connection that `database.migrate` hands over: its transaction and its lock hold all steps."""

from alembic import context

from sensor_platform.database.migrate import compare_options
from sensor_platform.database.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, **compare_options())
context.run_migrations()
