"""The series and definitions that a group of messages meets: looked up, and where they are new, made.

Apart from `prepare`, which asks for them: a dry run hands it a catalogue that only pretends (`pipeline/imagined`).
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from sensor_platform.database.partitions import Month, make_partitions
from sensor_platform.database.tables import metric
from sensor_platform.pipeline.in_force import StoredDefinitions
from sensor_platform.pipeline.outcome import Source
from sensor_platform.pipeline.series import (
    Key,
    Seen,
    Series,
    UnitChange,
    look_up,
    register,
    registry_version,
    unit_changes,
)
from sensor_platform.pipeline.unit_change import change_all, without_to_and_fro

#: Opens a transaction: the database's `begin`, or, where all is to be rolled back, one that is open already.
Begin = Callable[[], AbstractContextManager[sa.Connection]]


class Catalogue:
    """What the database has. Each method is a transaction of its own, outside of the load's."""

    def __init__(self, begin: Begin) -> None:
        self.begin = begin
        #: Every change of a unit that was made here.
        self.changes: list[UnitChange] = []

    def definitions(self, sources: list[Source], source_of: np.ndarray, messages: pa.Table) -> StoredDefinitions:
        """Those that the messages, in received order, may rest on."""
        return StoredDefinitions(self.begin, sources, source_of, messages)

    def look_up(self, keys: Collection[Key]) -> dict[Key, Series]:
        """Those of `keys` that are registered."""
        with self.begin() as connection:
            return look_up(connection, keys)

    def register(self, seen: Sequence[Seen]) -> None:
        """Registers new series, and what is new of known ones."""
        with self.begin() as connection:
            register(connection, seen)

    def change_units(self, changes: Sequence[UnitChange]) -> None:
        """Gives series other units, where their readings convert. All at once: each commit lets every load that is
        prepared be prepared again."""
        with self.begin() as connection:
            self.changes += change_all(connection, changes)

    def without_to_and_fro(self, changes: Sequence[UnitChange]) -> list[UnitChange]:
        """Without those that a route asks for again, after it asked for others."""
        with self.begin() as connection:
            return without_to_and_fro(connection, changes)

    def unit_changes(self) -> int:
        """Grows whenever the unit of any series changes."""
        with self.begin() as connection:
            return unit_changes(connection)

    def registry_version(self) -> int:
        """Grows whenever a person changes the registry."""
        with self.begin() as connection:
            return registry_version(connection)

    def names(self, series: Collection[int]) -> dict[int, tuple[Key, str | None]]:
        """The names of series, and their units."""
        with self.begin() as connection:
            rows = connection.execute(_NAMES, {"series": list(series)}).all()
        return {row.id: ((row.work_unit, row.sensor, row.metric), row.unit) for row in rows}

    def make_partitions(self, months: Iterable[Month]) -> None:
        """Makes those of the metric table that are missing."""
        with self.begin() as connection:
            make_partitions(connection, metric, months)


_NAMES = sa.text(
    "SELECT series.id, work_unit.name AS work_unit, sensor.name AS sensor, series.metric, series.unit"
    " FROM sensor_platform.series"
    " JOIN sensor_platform.sensor ON sensor.id = series.sensor_id"
    " JOIN sensor_platform.work_unit ON work_unit.id = sensor.work_unit_id"
    " WHERE series.id = ANY(CAST(:series AS integer[]))"
)
