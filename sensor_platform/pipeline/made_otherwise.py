"""Which hours were made with other routes or transformers than those of today, as the ledger has it.

What is not seen: a route whose filter is new, and takes messages that no route took. Those are dead letters of stage
`route`, and a retry finds them.
"""

import json
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.routes.model import Routes
from sensor_platform.transformers.custom import version_of


@dataclass(frozen=True, slots=True)
class MadeOtherwise:
    """Micro-batches of a received hour that other versions made than those of today, and whose those are."""

    hour: datetime
    micro_batches: int
    by: tuple[str, ...]


def made_otherwise(database: Database, routes: Routes) -> list[MadeOtherwise]:
    """Hours that a backfill with today's routes may change, oldest first. Those whose bytes are deleted are left out.

    Looks at every ledger row: for who asks now and then.
    """
    formats = {route.format: route for route in routes if not route.ignore}
    versions = {
        "routes": json.dumps({route.name: route.version for route in routes}),
        "transformers": json.dumps({name: version_of(route) for name, route in formats.items()}),
    }
    with database.read_only() as connection:
        rows = connection.execute(_MADE_OTHERWISE, versions).all()
    return [MadeOtherwise(row.hour, row.micro_batches, tuple(row.by)) for row in rows]


_MADE_OTHERWISE: sa.TextClause = statement("sensor_platform.pipeline", "made_otherwise")
