"""What assets, checks and sensors are handed: settings, database, staging area, routes; opened when first asked for.

A plain object rather than a ConfigurableResource: Dagster makes a new one of those for each tick, and with it a new
connection pool. This one lives as long as its process; nothing connects when the code location is loaded.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from sensor_platform.settings import Settings, load_settings

if TYPE_CHECKING:
    from sensor_platform.database.engine import Database
    from sensor_platform.routes.model import Routes
    from sensor_platform.staging.format import MicroBatch
    from sensor_platform.staging.store import Staging

REMEMBERED_COUNTS = 50_000
RECENT = timedelta(hours=3)
LIST_OLDER_EVERY_S = 300.0
#: One part in so many of the time is spent on it at most.
LISTING_SHARE = 50.0


class Platform:
    """The core's parts, as the settings name them. `tick_wait_s`: how long a tick of micro_batch_sensor may wait."""

    def __init__(self, settings: Settings | None = None, *, tick_wait_s: float = 4.0) -> None:
        self._settings = settings
        self.tick_wait_s = tick_wait_s
        #: Names of micro-batches that stay pending though a run has tried them; micro_batch_sensor says which.
        self.stuck: frozenset[str] = frozenset()
        self._older: list[MicroBatch] = []
        self._list_older_at = 0.0

    @cached_property
    def settings(self) -> Settings:
        from sensor_platform.embedded.run_file import resolved

        return resolved(self._settings if self._settings is not None else load_settings())

    @cached_property
    def database(self) -> "Database":
        """The database, with its tables: under plain `dagster dev` nobody else has made them."""
        import sqlalchemy as sa

        from sensor_platform.database.engine import connect_database
        from sensor_platform.database.migrate import upgrade
        from sensor_platform.database.tables import installation

        database = connect_database(self.settings)
        with database.connect() as connection:
            is_new = not sa.inspect(connection).has_table(installation.name, schema=installation.schema)
        if is_new:
            upgrade(database)
        return database

    @cached_property
    def staging(self) -> "Staging":
        from sensor_platform.staging.place import open_staging

        return open_staging(self.settings)

    @cached_property
    def routes(self) -> "Routes":
        from sensor_platform.routes.file import load_routes

        return load_routes(self.settings)

    @cached_property
    def messages_in(self) -> "Callable[[MicroBatch], int]":
        """Messages of a sealed micro-batch: its file never changes, so it is opened once."""
        return lru_cache(maxsize=REMEMBERED_COUNTS)(self.staging.count)

    def messages_of(self, micro_batches: "list[MicroBatch]") -> tuple[int, int]:
        """Messages in them, and how many of the files cannot be read. Those that were loaded need no look."""
        from sensor_platform.errors import DamagedMicroBatchError, MissingMicroBatchError
        from sensor_platform.pipeline.process import loaded_messages

        loaded = loaded_messages(self.database, {micro_batch.hour for micro_batch in micro_batches})
        messages = unreadable = 0
        for micro_batch in micro_batches:
            try:
                known = loaded.get(micro_batch.name)
                messages += self.messages_in(micro_batch) if known is None else known
            except (DamagedMicroBatchError, MissingMicroBatchError):  # processing says which, and what to do
                unreadable += 1
        return messages, unreadable

    def pending(self, *, now: datetime) -> "list[MicroBatch]":
        """Sealed micro-batches that the ledger does not have, oldest first.

        Sensors ask several times a second, and a year has millions of files: older hours are listed now and then.
        """
        from sensor_platform.pipeline.process import not_in_ledger, pending

        edge = (now - RECENT).replace(minute=0, second=0, microsecond=0)
        if time.monotonic() >= self._list_older_at:
            began_s = time.monotonic()
            self._older = pending(self.staging, self.database, hours=(None, edge))
            took_s = time.monotonic() - began_s  # a bucket with a million objects: a minute or two
            self._list_older_at = time.monotonic() + max(LIST_OLDER_EVERY_S, LISTING_SHARE * took_s)
        self._older = not_in_ledger(self.database, self._older)
        recent = pending(self.staging, self.database, hours=(edge, None))
        return sorted({*self._older, *recent})

    def waiting_s(self, *, now: datetime) -> float:
        """For how long the micro-batch that was sealed first has been waiting to be loaded; 0 when none is.

        One that is stuck, being damaged, waits for a person: nothing else waits with it.
        """
        waiting = [micro_batch for micro_batch in self.pending(now=now) if micro_batch.name not in self.stuck]
        sealed = [self.staging.sealed_at(micro_batch) for micro_batch in waiting]
        first = min((at for at in sealed if at is not None), default=now)
        return max((now - first).total_seconds(), 0.0)
