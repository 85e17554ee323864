"""Messages of a topic and a time, found in the staging area: where to begin when the message is all that one has."""

from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import ledger
from sensor_platform.routes.filters import TopicFilter
from sensor_platform.staging.store import Staging

#: A file lies in the hour of its first message; its last one came before the next hour began, or little later.
EARLIER = timedelta(hours=1)


def received(
    database: Database, staging: Staging, topics: TopicFilter, *, start: datetime, end: datetime, limit: int
) -> list[dict[str, Any]]:
    """Messages received on matching topics in [start, end): the first `limit`, in received order.

    Raises:
        StagingError: a file is damaged, or the object store does not answer.
    """
    first_hour = start.replace(minute=0, second=0, microsecond=0) - EARLIER
    found: list[dict[str, Any]] = []
    for _, of_hour in groupby(staging.micro_batches(first_hour, end), key=lambda one: one.hour):
        rows = [
            {"micro_batch": one.name, **_shown(row)}
            for one in of_hour
            for row in _matching(staging.read(one), topics, start, end).slice(0, limit).to_pylist()
        ]
        found += sorted(rows, key=lambda row: (row["received_at"], row["micro_batch"], row["sequence"]))
        if len(found) >= limit:
            break
    names = {row["micro_batch"] for row in found[:limit]}
    with database.read_only() as connection:
        loaded = set(connection.execute(sa.select(ledger.c.name).where(ledger.c.name.in_(names))).scalars())
    return [{**row, "loaded": row["micro_batch"] in loaded} for row in found[:limit]]


def _matching(messages: pa.Table, topics: TopicFilter, start: datetime, end: datetime) -> pa.Table:
    unique = pc.unique(messages["topic"]).to_pylist()
    wanted = [topic for topic in unique if topics.match(topic.decode("utf-8", "backslashreplace")) is not None]
    at = messages["received_at"]
    inside = pc.and_(pc.greater_equal(at, pa.scalar(start, at.type)), pc.less(at, pa.scalar(end, at.type)))
    return messages.filter(pc.and_(inside, pc.is_in(messages["topic"], value_set=pa.array(wanted, pa.binary()))))


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "sequence": row["sequence"],
        "received_at": row["received_at"],
        "topic": row["topic"].decode("utf-8", "backslashreplace"),
        "payload_bytes": len(row["payload"]),
        "retain": row["retain"],
        "redelivery_of": row["redelivery_of"],
    }
