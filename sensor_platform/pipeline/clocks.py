"""How wrong the clock of each sensor is: from the delay of its readings, receipt less event time.

The least delay is the clock's error and the shortest way; waiting and late readings only make a delay longer. Noted
after a load, outside of its transaction, from what was received just now: a table of one row a sensor, since no
reading keeps when it was received. What is made again says nothing of a clock now.
"""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import SCHEMA
from sensor_platform.pipeline.outcome import Outcome

COLUMNS = ("work_unit", "sensor", "skew_s", "least_delay_s", "mean_delay_s", "readings", "noted_at")
#: What was noted before says nothing about now.
LATELY = timedelta(hours=2)
#: Of a burst of old readings nothing is to be heard when the alert's time is over, which is longer.
JUST_NOW = timedelta(minutes=15)


def note(database: Database, outcome: Outcome) -> None:
    """Notes the delays of the readings in `outcome`, just loaded, that have a time of their own."""
    own = ~outcome.readings.timed_by_receipt
    if not own.any():
        return
    received_at = outcome.messages["received_at"].cast(pa.int64()).to_numpy()
    delay_s = (received_at[outcome.message[own]] - outcome.readings.time[own]) / 1e6
    series = outcome.readings.series[own]
    n = np.bincount(series)
    sum_s = np.bincount(series, weights=delay_s)
    least_s = np.full(len(n), np.inf)
    np.minimum.at(least_s, series, delay_s)
    present = np.flatnonzero(n)
    columns = {"n": n, "least_s": least_s, "sum_s": sum_s}
    newest = max(source.last_received_at for source in outcome.sources)
    values = {
        "series": present.tolist(),
        **{name: column[present].tolist() for name, column in columns.items()},
        "hour": newest.replace(minute=0, second=0, microsecond=0),
        "noted_at": newest,
    }
    with database.begin() as connection:
        # No load waits for a disk for this: what a crash loses, the next load notes.
        connection.execute(sa.text("SET LOCAL synchronous_commit = off"))
        connection.execute(_NOTE_CLOCKS, values)


def clocks(database: Database, *, now: datetime) -> list[dict[str, Any]]:
    """COLUMNS of each sensor that was heard of lately, the most wrong first.

    `skew_s`: how far its clock is ahead of ours, in seconds, below 0 behind; None where it cannot be told: too few
    readings, or delays that differ, as those of old readings do. The way of the message counts as behind.
    """
    c = _skew.c
    query = (
        sa.select(_skew).where(*_noted(now, within=LATELY)).order_by(sa.func.abs(c.skew_s).desc().nulls_last(), *c[:2])
    )
    with database.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def worst_skew_s(connection: sa.Connection, *, now: datetime) -> float:
    """The greatest of those heard of just now, ahead or behind; 0 where nothing can be told."""
    query = sa.select(sa.func.coalesce(sa.func.max(sa.func.abs(_skew.c.skew_s)), 0.0)).where(
        *_noted(now, within=JUST_NOW)
    )
    return float(connection.execute(query).scalar_one())


def _noted(now: datetime, *, within: timedelta) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Not what a collector said whose clock was in another year."""
    return _skew.c.noted_at >= now - within, _skew.c.noted_at <= now + within


_skew = sa.table("sensor_skew", *(sa.column(name) for name in COLUMNS), schema=SCHEMA)
_NOTE_CLOCKS = statement("sensor_platform.pipeline", "note_clocks")
