"""Every message and reading, accounted for: the totals of the ledger, and the ledger held against what stands."""

from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files

import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import dead_letter, ledger
from sensor_platform.pipeline.report import MessageCounts, ReadingCounts

#: Letters that a retry will still look at. Exhausted ones wait for a person.
WAITING = ("pending", "retrying")

MESSAGE_COLUMNS = (
    ledger.c.staged,
    ledger.c.accepted,
    ledger.c.partial,
    ledger.c.dead_lettered,
    ledger.c.duplicate,
    ledger.c.ignored,
)
READING_COLUMNS = (
    ledger.c.decoded,
    ledger.c.inserted,
    ledger.c.duplicate_readings,
    ledger.c.refused,
    ledger.c.thinned,
    ledger.c.expired,
)

#: Of the columns above, by `counts_of` told apart again.
SUMS = [sa.cast(sa.func.coalesce(sa.func.sum(c), 0), sa.BigInteger) for c in (*MESSAGE_COLUMNS, *READING_COLUMNS)]


def totals(database: Database) -> tuple[MessageCounts, ReadingCounts, int]:
    """All messages, all readings, and the dead letters that wait for a retry."""
    waiting = sa.select(sa.func.count()).where(dead_letter.c.state.in_(WAITING)).select_from(dead_letter)
    with database.connect() as connection:
        row = connection.execute(sa.select(*SUMS, waiting.scalar_subquery()).select_from(ledger)).one()
    return (*counts_of(row[:-1]), row[-1])


def mismatches(
    database: Database,
    *,
    since: datetime | None = None,
    committed_since: datetime | None = None,
    run_id: str | None = None,
) -> list[str]:
    """One line for each micro-batch whose ledger row differs from its rows in the tables.

    Bounded to micro-batches received since then, committed since then, or made by a run; the reading of `metric` is
    bounded to their event times.
    """
    sql = files("sensor_platform.pipeline").joinpath("sql/mismatches.sql").read_text("utf-8")
    with database.connect() as connection:
        rows = connection.execute(
            sa.text(sql), {"since": since, "committed_since": committed_since, "run_id": run_id}
        ).all()
    return [f"{row.name}: {row.what}: the ledger says {row.said}, the tables have {row.found}" for row in rows]


def counts_of(row: Sequence[int]) -> tuple[MessageCounts, ReadingCounts]:
    """What a row of SUMS says."""
    return MessageCounts(*row[: len(MESSAGE_COLUMNS)]), ReadingCounts(*row[len(MESSAGE_COLUMNS) :])
