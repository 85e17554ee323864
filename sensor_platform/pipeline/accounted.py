"""Compacted files of which the ledger has every micro-batch: noted when they are made, so that nobody opens them again.

The note is a row of the same database as the ledger. One that is restored from a backup lacks both alike, and what was
compacted since is found to be pending.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import compacted_file, ledger
from sensor_platform.staging.compacted_area import CompactedName, next_hour
from sensor_platform.staging.store import Staging

Hours = tuple[datetime | None, datetime | None]


def note_accounted(connection: sa.Connection, staging: Staging, hour: datetime) -> None:
    """Notes the compacted files of that received hour that have nothing that the ledger lacks."""
    names = set(connection.execute(sa.select(ledger.c.name).where(ledger.c.hour == hour)).scalars())
    rows = [
        {"hour": file.hour, "name": file.name}
        for file in staging.files(hour, next_hour(hour))
        if file.compacted and all(micro_batch.name in names for micro_batch in file.micro_batches)
    ]
    if rows:
        connection.execute(insert(compacted_file).on_conflict_do_nothing(), rows)


def accounted(database: Database, hours: Hours = (None, None)) -> set[CompactedName]:
    """Those noted of the received hours [start, end)."""
    start, end = hours
    query = sa.select(compacted_file.c.hour, compacted_file.c.name)
    if start is not None:
        query = query.where(compacted_file.c.hour >= start)
    if end is not None:
        query = query.where(compacted_file.c.hour < end)
    with database.connect() as connection:
        return {CompactedName(hour, name) for hour, name in connection.execute(query).tuples()}
