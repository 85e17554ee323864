"""Topic filters that are added and removed while the collectors run, beside those that the routes bring.

A batch is one transaction and one NOTIFY: all of it or nothing. Collectors subscribe to a disjoint cover of all
filters, since brokers deliver a message once per matching subscription; so a filter may cover others, or be covered,
but one that overlaps another in part is refused with the filter that takes in both: nobody gets topics unasked.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.database.tables import collector_heartbeat, collector_subscription, subscription
from sensor_platform.errors import InvalidSubscriptionError
from sensor_platform.mqtt.subscriptions import CHANNEL, MOST_ADDED, without_group
from sensor_platform.routes.filters import TopicFilter, covers, disjoint, joined, overlaps, parse_filter
from sensor_platform.routes.model import Routes

#: A collector that has not beaten for so long says nothing about the present.
SILENT_AFTER_S = 10
NO_ROUTE = "what no route matches is staged and becomes a dead letter, which a retry mends when the route is there"


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of a batch. `notes`: sentences for a person, on filters that are there already or match no route."""

    filters: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What one running collector knows of a filter: pending, granted or refused."""

    collector: str
    state: str
    detail: str | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A filter, where it comes from, and the subscription that brings its messages."""

    filter: str
    origin: str  # route or added
    subscribed_as: str
    collectors: tuple[Answer, ...]
    route: str | None = None
    added_at: datetime | None = None
    added_by: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def add(database: Database, routes: Routes, filters: Sequence[str], *, by: str) -> Changed:
    """Adds all of `filters`, or none.

    Raises:
        InvalidSubscriptionError: one is not a topic filter, overlaps another in part, or they are too many.
    """
    new = {each.subscription: each for each in map(_parsed, filters)}
    with database.begin() as connection:
        locks.take(connection, locks.SUBSCRIPTIONS)
        there = _origins(connection, routes)
        fresh = [name for name in new if name not in there]
        notes = [f"{name} is there already: {there[name]}" for name in new if name in there]
        if sum(1 for origin in there.values() if origin == "added") + len(fresh) > MOST_ADDED:
            raise InvalidSubscriptionError(
                f"more than {MOST_ADDED} added filters: take a wider one, or put them into the route file"
            )
        others = {name: parse_filter(name) for name in (*there, *new)}
        notes += [note for name in fresh for note in _checked(name, others, there, routes)]
        if fresh:
            connection.execute(sa.insert(subscription), [{"filter": name, "added_by": by} for name in fresh])
            _notify(connection)
    return Changed(tuple(fresh), tuple(notes))


def remove(database: Database, routes: Routes, filters: Sequence[str]) -> Changed:
    """Removes all of `filters`, or none.

    Raises:
        InvalidSubscriptionError: one was never added, or a route brings it.
    """
    names = tuple(dict.fromkeys(_parsed(text).subscription for text in filters))
    with database.begin() as connection:
        locks.take(connection, locks.SUBSCRIPTIONS)
        there = set(connection.execute(sa.select(subscription.c.filter)).scalars())
        for name in names:
            if name not in there:
                raise InvalidSubscriptionError(_why_not_there(name, routes))
        connection.execute(sa.delete(subscription).where(subscription.c.filter.in_(names)))
        _notify(connection)
    return Changed(names)


def listed(database: Database, routes: Routes) -> list[Listed]:
    """Every filter of the routes and every added one, with what the running collectors know of it."""
    beat, told = collector_heartbeat.c, collector_subscription.c
    live = sa.select(beat.collector).where(
        beat.state != "stopped", beat.beat_at > sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 0, SILENT_AFTER_S)
    )
    with database.connect() as connection:
        added = connection.execute(sa.select(subscription).order_by(subscription.c.filter)).all()
        collectors = list(connection.execute(live.order_by(beat.collector)).scalars())
        answers = connection.execute(sa.select(told.collector, told.filter, told.state, told.detail)).all()
    origins: list[dict[str, Any]] = [{"filter": r.topic_filter.subscription, "route": r.name} for r in routes]
    origins += [row._asdict() for row in added]
    cover = disjoint(parse_filter(origin["filter"]) for origin in origins)
    return [
        Listed(
            **origin,
            origin="route" if "route" in origin else "added",
            subscribed_as=_covering(parse_filter(origin["filter"]), cover),
            collectors=tuple(_answer(origin["filter"], name, answers) for name in collectors),
        )
        for origin in origins
    ]


def _parsed(text: str) -> TopicFilter:
    try:
        return TopicFilter(parse_filter(text).levels)
    except ValueError as err:
        raise InvalidSubscriptionError(f'"{text}" is not a topic filter: {err}') from err


def _origins(connection: sa.Connection, routes: Routes) -> dict[str, str]:
    added = dict.fromkeys(connection.execute(sa.select(subscription.c.filter)).scalars(), "added")
    return {**added, **{route.topic_filter.subscription: f'route "{route.name}"' for route in routes}}


def _checked(name: str, others: dict[str, TopicFilter], there: dict[str, str], routes: Routes) -> list[str]:
    """What is to be said of a filter that is about to be added."""
    mine, notes = others[name], []
    for other, theirs in others.items():
        if other == name or not overlaps(mine, theirs):
            continue
        origin = there.get(other, "this batch")
        if covers(theirs, mine):
            notes.append(f"{name} is covered by {other} ({origin}): it brings nothing more while that one stands")
        elif covers(mine, theirs):
            notes.append(f"{name} covers {other} ({origin}): collectors subscribe to {name} alone")
        else:
            raise InvalidSubscriptionError(
                f"{name} and {other} ({origin}) share topics and neither covers the other: a broker would deliver those"
                f" twice. Add {joined(mine, theirs).subscription}, which takes in both, or a narrower one"
            )
    if not any(covers(route.topic_filter, mine) for route in routes):
        some = any(overlaps(route.topic_filter, mine) for route in routes)
        notes.append(f"{f'not all of {name} has a route' if some else f'{name} has no route'}: {NO_ROUTE}")
    return notes


def _why_not_there(name: str, routes: Routes) -> str:
    for route in routes:
        if route.topic_filter.subscription == name:
            return (
                f'{name} comes from the route "{route.name}" of {routes.source}: take the route out of the file and'
                " start the collectors again, or give it `ignore: true` to keep its messages out of the tables"
            )
    return f"{name} was never added: `sensor-platform subscriptions list` shows what is there"


def _covering(each: TopicFilter, cover: Sequence[TopicFilter]) -> str:
    return next(wide.subscription for wide in cover if covers(wide, each))


def _answer(name: str, collector: str, answers: Sequence[Any]) -> Answer:
    """The best word on any subscription of that collector that brings the filter's messages."""
    mine = parse_filter(name)
    found = [
        row for row in answers if row.collector == collector and covers(parse_filter(without_group(row.filter)), mine)
    ]
    for state in ("granted", "refused"):
        for row in found:
            if row.state == state:
                return Answer(collector, state, row.detail)
    return Answer(collector, "pending", None)


def _notify(connection: sa.Connection) -> None:
    connection.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))
