"""Which dead letters a retry takes: those that a person names, or those that are due."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from sensor_platform.database.tables import dead_letter, dead_letter_message
from sensor_platform.dead_letters.states import State, UnknownLetterError, check_step
from sensor_platform.routes.model import Route, Routes


def choose(
    connection: sa.Connection,
    routes: Routes,
    *,
    ids: Sequence[int] | None,
    codes: Sequence[str] | None,
    stages: Sequence[str] | None,
    routes_only: Sequence[str] | None,
    limit: int,
    now: datetime,
) -> list[int]:
    """Ids: those of `ids`, each checked; without them, those that are due and pass the filters, oldest first."""
    if ids is not None:
        return _named(connection, ids, now)
    query = sa.select(dead_letter.c.id).where(_is_due(now)).order_by(dead_letter.c.id).limit(limit)
    if codes:
        query = query.where(dead_letter.c.code.in_(codes))
    if stages:
        query = query.where(dead_letter.c.stage.in_(stages))
    if routes_only:
        topics = _topics_of(connection, routes, routes_only, now)
        query = query.join(dead_letter_message, _SAME_MESSAGE).where(dead_letter_message.c.topic.in_(topics))
    return list(connection.execute(query).scalars())


def _named(connection: sa.Connection, ids: Sequence[int], now: datetime) -> list[int]:
    columns = (dead_letter.c.id, dead_letter.c.state, dead_letter.c.next_attempt_at)
    found = {row.id: row for row in connection.execute(sa.select(*columns).where(dead_letter.c.id.in_(ids)))}
    for letter in ids:
        if letter not in found:
            raise UnknownLetterError(letter)
        row = found[letter]
        abandoned = row.state == State.RETRYING and row.next_attempt_at <= now
        if not abandoned:
            check_step(letter, row.state, State.RETRYING)
    return list(found)


def _is_due(now: datetime) -> sa.ColumnElement[bool]:
    """Pending and its time has come; or taken by a retry that died, so that its lease has run out."""
    letter = dead_letter.c
    pending = sa.and_(
        letter.state == "pending", sa.or_(letter.next_attempt_at.is_(None), letter.next_attempt_at <= now)
    )
    return sa.or_(pending, sa.and_(letter.state == "retrying", letter.next_attempt_at <= now))


def _topics_of(connection: sa.Connection, routes: Routes, names: Sequence[str], now: datetime) -> list[bytes]:
    """Topics of due letters that today's routes send to one of `names`."""
    topics = sa.select(dead_letter_message.c.topic).join(dead_letter, _SAME_MESSAGE).where(_is_due(now)).distinct()
    found = ((topic, route_of(topic, routes)) for topic in connection.execute(topics).scalars())
    return [topic for topic, route in found if route is not None and route.name in names]


def route_of(topic: bytes, routes: Routes) -> Route | None:
    """The route that the topic has today."""
    try:
        found = routes.match(topic.decode())
    except UnicodeDecodeError:
        return None
    return None if found is None else found[0]


_SAME_MESSAGE = sa.and_(
    dead_letter_message.c.micro_batch == dead_letter.c.micro_batch,
    dead_letter_message.c.sequence == dead_letter.c.sequence,
)
