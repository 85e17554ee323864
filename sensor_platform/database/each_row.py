"""Many rows changed by one statement, each to values of its own: a statement a row takes its time on the way."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa


def update_each(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Sets the columns that `rows` name; all name the same ones, and `id`, by which the row is known."""
    if not rows:
        return
    names = list(rows[0])
    columns = [sa.literal([row[name] for row in rows], sa.ARRAY(table.c[name].type)) for name in names]
    new = sa.func.unnest(*columns).table_valued(*names, name="new").render_derived()
    changed = {name: new.c[name] for name in names if name != "id"}
    connection.execute(sa.update(table).where(table.c.id == new.c.id).values(changed))
