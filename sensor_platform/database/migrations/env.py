"""Run by Alembic, on the connection that `database.migrate` hands over: its transaction and its lock hold all steps."""

import sqlalchemy as sa
from alembic import context

from sensor_platform.database.migrate import LOCK_TIMEOUT_MS, compare_options
from sensor_platform.database.tables import metadata

connection = context.config.attributes["connection"]
# Who waits for a table that somebody has is waited for by all who come after: loads, and people.
connection.execute(sa.text("SELECT set_config('lock_timeout', :ms, true)"), {"ms": str(LOCK_TIMEOUT_MS)})
context.configure(connection=connection, target_metadata=metadata, **compare_options())
context.run_migrations()
