"""Which micro-batches were decoded with another definition than stands before them: marked in the ledger.

A load that brings a definition, changes it or takes it away concerns all that stands behind its place, up to the next
one of its key. Only the neighbours of that place are looked at, however long the history of the key is.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import ledger
from sensor_platform.pipeline.outcome import Place


class DefinitionRow(NamedTuple):
    """A row of `definition`: `content` is the digest."""

    format: str
    key: str
    first_received_at: datetime
    name: str
    sequence: int
    micro_batch: int
    content: bytes

    @property
    def place(self) -> Place:
        return self.first_received_at, self.name, self.sequence


class Stretch(NamedTuple):
    """From one micro-batch to another, both included, in received order; `last` None: without end."""

    format: str
    first: tuple[datetime, str]
    last: tuple[datetime, str] | None


def mark_behind(
    connection: sa.Connection, old: set[DefinitionRow], new: set[DefinitionRow], *, made_now: Collection[int]
) -> None:
    """Marks what stands behind definitions that changed. Called under the load's lock, when `new` has taken the place
    of `old`.

    One that says what was in force at its place before this load, and that was not there, changes nothing.

    made_now: ledger ids of micro-batches that were decoded by what is in the table now.
    """
    changed: dict[tuple[str, str], set[Place]] = {}
    for row in old ^ new:
        changed.setdefault((row.format, row.key), set()).add(row.place)
    if not changed:
        return
    stood: dict[tuple[str, str], dict[Place, bytes]] = {}
    for row in old:
        stood.setdefault((row.format, row.key), {})[row.place] = row.content
    stretches: list[Stretch] = []
    for key, stands in _around(connection, changed).items():
        stretches += behind(key[0], changed[key], stood.get(key, {}), stands)
    merged = list(joined(stretches))
    if merged:
        columns = {
            "formats": [one.format for one in merged],
            "firsts": [one.first[1] for one in merged],
            "lasts": [one.last and one.last[1] for one in merged],
        }
        connection.execute(_MARK_OUTDATED, {**columns, "made_now": sorted(made_now)})


def mark(connection: sa.Connection, micro_batches: Collection[int]) -> None:
    """Marks these: they were decoded with other definitions than are in force."""
    concerned = ledger.c.id.in_(micro_batches) & ledger.c.bytes_deleted_at.is_(None)
    connection.execute(sa.update(ledger).where(concerned).values(definitions_changed_at=sa.func.now()))


def outdated(database: Database) -> dict[datetime, int]:
    """Micro-batches, by received hour, that were decoded before a definition that stands before them was known, or
    whose readings have another calibration by now.

    Making the hours again mends them. Those whose bytes retention has deleted cannot be made again, and are left out.
    """
    marked = ledger.c.definitions_changed_at.is_not(None) & ledger.c.bytes_deleted_at.is_(None)
    query = sa.select(ledger.c.hour, sa.func.count()).where(marked)
    with database.connect() as connection:
        return dict(connection.execute(query.group_by(ledger.c.hour).order_by(ledger.c.hour)).tuples().all())


def _around(
    connection: sa.Connection, changed: dict[tuple[str, str], set[Place]]
) -> dict[tuple[str, str], dict[Place, bytes]]:
    """Of each format and key what stands among the places, the last before them, and the next after them."""
    keys = sorted(changed)
    bounds = [(*min(changed[key]), *max(changed[key])) for key in keys]
    columns: list[Sequence[Any]] = [*zip(*keys, strict=True), *zip(*bounds, strict=True)]
    found: dict[tuple[str, str], dict[Place, bytes]] = {key: {} for key in keys}
    for row in connection.execute(_AROUND, dict(zip(_COLUMNS, map(list, columns), strict=True))):
        found[row.format, row.key][row.first_received_at, row.name, row.sequence] = row.content
    return found


def behind(
    format_: str, changed: set[Place], stood: dict[Place, bytes], stands: dict[Place, bytes]
) -> Iterator[Stretch]:
    """The stretches of one key in which something else is in force than before: each up to its next definition.

    stood: what this load has taken out, at places of `changed` and at others, where it has put the same again.
    """
    before: bytes | None = None
    order = sorted(stands)
    for place in sorted(changed | stands.keys()):
        if place in changed and (place in stood or stands.get(place) != before):
            following = bisect_right(order, place)
            yield Stretch(format_, place[:2], order[following][:2] if following < len(order) else None)
        if place not in changed:
            before = stands[place]
        elif place in stood:
            before = stood[place]


def joined(stretches: list[Stretch]) -> Iterator[Stretch]:
    """The same micro-batches in as few stretches as there are: a storm of births has thousands that overlap."""
    open_: Stretch | None = None
    for one in sorted(stretches, key=lambda one: one[:2]):
        if open_ is None or open_.format != one.format or (open_.last is not None and open_.last < one.first):
            if open_ is not None:
                yield open_
            open_ = one
        elif open_.last is not None and (one.last is None or open_.last < one.last):
            open_ = open_._replace(last=one.last)
    if open_ is not None:
        yield open_


_COLUMNS = (
    *("formats", "keys", "first_at", "first_names", "first_sequences"),
    *("last_at", "last_names", "last_sequences"),
)
_AROUND = statement("sensor_platform.pipeline", "around_definitions")
_MARK_OUTDATED = statement("sensor_platform.pipeline", "mark_outdated")
