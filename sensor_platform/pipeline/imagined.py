"""A catalogue that writes nothing: what loads would register, change and define is kept here, for groups after them.

Every question is asked in a read-only transaction, so that PostgreSQL itself holds a dry run to its name. What is kept
grows with what would change, not with what is looked at.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.partitions import Month
from sensor_platform.database.raw import statement
from sensor_platform.pipeline.catalogue import Catalogue
from sensor_platform.pipeline.contents import digest_of
from sensor_platform.pipeline.in_force import StoredDefinitions, place_in_group
from sensor_platform.pipeline.outcome import Outcome, Source
from sensor_platform.pipeline.series import NOTED_UNITS, Key, Seen, Series, UnitChange
from sensor_platform.pipeline.unit_change import converts, with_unit_noted
from sensor_platform.transformers.definitions import Content, Definition
from sensor_platform.transformers.units import Conversion

#: Received order of a message: the micro-batch's first received_at, its name, the sequence.
_Order = tuple[datetime, bytes, int]


@dataclass(frozen=True, slots=True)
class _Redefined:
    """What is imagined of one key: places at which nothing is defined any more, and what is defined anew."""

    gone: set[tuple[str, int]] = field(default_factory=set)  # name of the micro-batch, sequence
    new: dict[_Order, Content] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Row:
    """A definition as the database's rows have it."""

    key: str
    first_received_at: datetime
    name: str
    sequence: int
    content: Content

    @property
    def order(self) -> _Order:
        return self.first_received_at, self.name.encode(), self.sequence


class ImaginedCatalogue(Catalogue):
    """The database's, with what is imagined laid over it. Series that are not there have ids below 0."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.read_only)
        self._series: dict[Key, Series] = {}
        self._redefined: dict[tuple[str, str], _Redefined] = {}

    def definitions(self, sources: list[Source], source_of: np.ndarray, messages: pa.Table) -> StoredDefinitions:
        return _ImaginedDefinitions(self.begin, sources, source_of, messages, self._redefined)

    def look_up(self, keys: Collection[Key]) -> dict[Key, Series]:
        imagined = {key: self._series[key] for key in keys if key in self._series}
        return {**super().look_up(keys), **imagined}

    def register(self, seen: Sequence[Seen]) -> None:
        known = self.look_up([one.key for one in seen])
        for one in sorted(seen, key=lambda one: one.key):
            series = known.get(one.key)
            if series is None:
                series = Series(-1 - len(self._series), None, None, None, one.conflicts)
            if series.unit is None and one.unit is not None:
                series = replace(
                    series, unit=one.unit, unit_by=one.unit_by, unnamed_unit=one.unit, unnamed_by=one.unit_by
                )
            units = tuple(dict.fromkeys([*series.units, *one.units]))[:NOTED_UNITS]
            self._series[one.key] = replace(series, units=units, conflicts=one.conflicts, seen=True)

    def change_units(self, changes: Sequence[UnitChange]) -> None:
        for change in changes:
            series = with_unit_noted(change.series)
            with self.begin() as connection:
                if not converts(connection, series, change.to):
                    continue  # as the database's own does, with a warning
            minimum, maximum = (_converted(one, change.how) for one in (series.minimum, series.maximum))
            calibrations = tuple(one.in_unit(change.how) for one in series.calibrations)
            self._series[change.key] = replace(
                series, **asdict(change.to), minimum=minimum, maximum=maximum, calibrations=calibrations
            )
            self.changes.append(change)

    def make_partitions(self, months: Iterable[Month]) -> None:
        """Nothing is loaded into them."""

    def names(self, series: Collection[int]) -> dict[int, tuple[Key, str | None]]:
        wanted = set(series)
        imagined = {one.id: (key, one.unit) for key, one in self._series.items() if one.id in wanted}
        return {**super().names(wanted), **imagined}

    def define(self, outcome: Outcome) -> None:
        """From now on the messages of `outcome`, whole micro-batches, define what it says and nothing else."""
        stood = self._stood(outcome.sources)
        sequence = outcome.messages["sequence"].to_numpy()
        said: dict[tuple[str, str, str, int], Content] = {}
        for format_, found in outcome.definitions.items():
            for one in found:
                name = outcome.sources[int(outcome.source_of[one.message])].name
                said[format_, one.key, name, int(sequence[one.message])] = one.content
        first = {source.name: source.first_received_at for source in outcome.sources}
        for (format_, key, name, number), digest in stood.items():
            content = said.get((format_, key, name, number))
            if content is None or digest_of(content) != digest:
                self._of(format_, key).gone.add((name, number))
        for (format_, key, name, number), content in said.items():
            if stood.get((format_, key, name, number)) != digest_of(content):
                self._of(format_, key).new[first[name], name.encode(), number] = content

    def _of(self, format_: str, key: str) -> _Redefined:
        return self._redefined.setdefault((format_, key), _Redefined())

    def _stood(self, sources: list[Source]) -> dict[tuple[str, str, str, int], bytes]:
        with self.begin() as connection:
            rows = connection.execute(_DEFINED_BY, {"names": [source.name for source in sources]}).tuples()
            return {(format_, key, name, number): bytes(digest) for format_, key, name, number, digest in rows}


@dataclass(frozen=True, slots=True)
class _ImaginedDefinitions(StoredDefinitions):
    """Those of the database, but for keys of which something else is imagined."""

    redefined: Mapping[tuple[str, str], _Redefined]

    def _find(self, format_: str, keys: Collection[str]) -> Mapping[str, Sequence[Definition]]:
        other = {key: self.redefined[format_, key] for key in keys if (format_, key) in self.redefined}
        same = sorted(set(keys) - other.keys())
        found = dict(StoredDefinitions._find(self, format_, same)) if same else {}
        return {**found, **self._find_other(format_, other)} if other else found

    def _find_other(self, format_: str, other: Mapping[str, _Redefined]) -> dict[str, list[Definition]]:
        bound = self._bound("last", self.messages.num_rows - 1)
        last = bound["last_at"], bound["last_name"].encode(), bound["last_sequence"]
        with self.begin() as connection:
            asked = connection.execute(_UP_TO, {"format": format_, "keys": sorted(other), **bound})
            rows = [_Row(*row) for row in asked.tuples()]
        kept = [row for row in rows if (row.name, row.sequence) not in other[row.key].gone]
        new = [_imagined(key, *one) for key, each in other.items() for one in each.new.items() if one[0] <= last]
        starts = np.searchsorted(self.source_of, np.arange(len(self.sources) + 1))
        orders = [(source.first_received_at, source.name.encode()) for source in self.sources]
        sequences = self.messages["sequence"].to_numpy()
        found: dict[str, list[Definition]] = {}
        for row in sorted([*kept, *new], key=lambda row: row.order):
            place = place_in_group(row, orders, starts, sequences)
            if place is not None:
                found.setdefault(row.key, []).append(Definition(place, row.key, row.content))
        return found


def _converted(limit: float | None, how: Conversion) -> float | None:
    return None if limit is None else float(how.column(np.array([limit]))[0])


def _imagined(key: str, order: _Order, content: Content) -> _Row:
    return _Row(key, order[0], order[1].decode(), order[2], content)


_UP_TO = statement("sensor_platform.pipeline", "definitions_up_to")
_DEFINED_BY = sa.text(
    "SELECT definition.format, definition.key, ledger.name, definition.sequence, definition.content"
    " FROM sensor_platform.definition JOIN sensor_platform.ledger ON ledger.id = definition.micro_batch"
    " WHERE ledger.name = ANY(CAST(:names AS text[]))"
)
