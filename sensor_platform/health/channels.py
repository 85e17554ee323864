"""Tells channels what stands in the outbox, each row once.

Rows are claimed, told and marked in one transaction, and rows that another deliverer holds are skipped. A process that
dies between telling and commit tells again: for an alert that is the right way round.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sensor_platform.database.tables import alert, alert_outbox
from sensor_platform.log import get_logger

if TYPE_CHECKING:
    from sensor_platform.database.engine import Database

log = get_logger(part="alerts")

#: Rows claimed in one transaction.
GROUP_SIZE = 100

Channel = Callable[[sa.Row[Any]], None]


def _to_log(row: sa.Row[Any]) -> None:
    tell = log.warning if row.transition == "firing" else log.info
    tell(f"alert_{row.transition}", rule=row.rule, subject=row.subject, value=row.value, detail=row.detail)


def _to_database(row: sa.Row[Any]) -> None:
    """The marked row is the message: whoever reads the tables has been told."""


CHANNELS: dict[str, Channel] = {"log": _to_log, "database": _to_database}


def deliver(database: "Database") -> int:
    """Tells every channel what it has not been told yet, in order; returns how many rows were told."""
    told, after = 0, 0
    while ids := _deliver_group(database, after=after):
        told += sum(ids.values())
        after = max(ids)
    return told


def _deliver_group(database: "Database", *, after: int) -> dict[int, bool]:
    """The rows that were tried, and whether they were told."""
    claim = (
        sa.select(alert_outbox.c.id, alert_outbox.c.channel, alert_outbox.c.transition)
        .add_columns(alert.c.rule, alert.c.subject, alert.c.value, alert.c.detail)
        .join_from(alert_outbox, alert)
        .where(alert_outbox.c.delivered_at.is_(None), alert_outbox.c.channel.in_(CHANNELS), alert_outbox.c.id > after)
        .order_by(alert_outbox.c.id)
        .limit(GROUP_SIZE)
        .with_for_update(of=alert_outbox, skip_locked=True)
    )
    with database.begin() as connection:
        tried = {row.id: _tell(row) for row in connection.execute(claim).all()}
        done = alert_outbox.c.id.in_([id_ for id_, is_told in tried.items() if is_told])
        connection.execute(sa.update(alert_outbox).where(done).values(delivered_at=sa.func.clock_timestamp()))
    return tried


def _tell(row: sa.Row[Any]) -> bool:
    """Whether its channel took it; a channel that fails does not hold up the others."""
    try:
        CHANNELS[row.channel](row)
    except Exception:
        log.exception("channel_failed", channel=row.channel, rule=row.rule, subject=row.subject)
        return False
    return True
