"""How many dead letters the schedule would try: the question alone, without the weight of what answers it."""

from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sensor_platform.database.tables import dead_letter

if TYPE_CHECKING:
    from sensor_platform.database.engine import Database

_count_due = (
    sa.select(sa.func.count())
    .select_from(dead_letter)
    # One that is being retried is due once the lease of that retry has run out.
    .where(dead_letter.c.state.in_(("pending", "retrying")), dead_letter.c.next_attempt_at <= sa.bindparam("now"))
)


def count_due(database: "Database", *, now: datetime) -> int:
    with database.connect() as connection:
        return connection.execute(_count_due, {"now": now}).scalar_one()
