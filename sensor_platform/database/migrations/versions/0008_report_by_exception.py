"""Report by exception: the ledger counts readings that were thinned, and messages with dead letters know theirs."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"


def upgrade() -> None:
    """A column each. Until now nothing was thinned: the fast default writes no row anew."""
    of_ledger = "readings that said nothing new (report by exception); not among `decoded`"
    of_message = "of its readings, while a letter of it is open"
    counted = sa.Column("thinned", sa.BigInteger(), nullable=False, server_default="0", comment=of_ledger)
    op.add_column("ledger", counted, schema=SCHEMA)
    kept = sa.Column("thinned", sa.Integer(), nullable=False, server_default="0", comment=of_message)
    op.add_column("dead_letter_message", kept, schema=SCHEMA)
