"""The row through which Dagster and the API wish the collector on or off. Written only when a wish changes."""

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from sensor_platform.database.tables import collector_control

if TYPE_CHECKING:
    from sensor_platform.database.engine import Database

_values: dict[str, Any] = {"sensor_on": sa.bindparam("on"), "changed_by": sa.bindparam("by")}
_insert = insert(collector_control).values(**_values)
_write_sensor_on = _insert.on_conflict_do_update(
    index_elements=[collector_control.c.only],
    set_={**_values, "changed_at": sa.func.now()},
    where=collector_control.c.sensor_on.is_distinct_from(_insert.excluded.sensor_on),
).returning(collector_control.c.sensor_on)


def write_sensor_on(database: "Database", on: bool, *, by: str) -> bool:
    """Whether that changed the standing wish."""
    with database.begin() as connection:
        return connection.execute(_write_sensor_on, {"on": on, "by": by}).one_or_none() is not None
