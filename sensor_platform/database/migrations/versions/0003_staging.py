"""When retention deleted a micro-batch's bytes, and what waits for the object store."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"
TIMESTAMP = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """New columns of the ledger and of the heartbeat."""
    deleted = "when retention deleted its file; null: the bytes are kept"
    op.add_column("ledger", sa.Column("bytes_deleted_at", TIMESTAMP, comment=deleted), schema=SCHEMA)
    for column in (
        sa.Column(
            "upload_waiting",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="sealed micro-batches on its disk that wait for the object store",
        ),
        sa.Column("upload_waiting_since", TIMESTAMP, comment="when the oldest of those was sealed"),
        sa.Column("upload_error", sa.Text(), comment="why uploads fail now, in one line"),
    ):
        op.add_column("collector_heartbeat", column, schema=SCHEMA)
