"""What a retry needs beside some of its messages: the micro-batch that they came in.

A rate is judged, and a reading is thinned, beside other readings of one micro-batch. A message judged by itself would
pass, and stand in the metric tables where no clean pass has it. The neighbours are left as they stand: a backfill makes
them what they are beside the messages that got in.
"""

from dataclasses import dataclass
from datetime import UTC, timedelta

import pyarrow as pa

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.choose import route_of
from sensor_platform.errors import BytesDeletedError, MissingMicroBatchError, ObjectStoreError
from sensor_platform.pipeline.outcome import Source
from sensor_platform.pipeline.retention import bytes_deleted
from sensor_platform.routes.model import Route, Routes
from sensor_platform.settings import Settings
from sensor_platform.staging.format import MicroBatch
from sensor_platform.staging.place import open_staging, staging_root
from sensor_platform.staging.store import LocalStaging, Staging
from sensor_platform.transformers.registry import may_define


def need_neighbours(topic: bytes, routes: Routes) -> bool:
    """Whether what becomes of a message of that topic, by the route that it has today, may depend on its neighbours.

    Those of other routes have no say: a rate is taken between readings of one route, and only a route that asks for
    report by exception has its readings thinned.
    """
    route = route_of(topic, routes)
    return route is not None and (bool(route.report_by_exception) or _has_a_rate(route))


def need_definitions(topic: bytes, routes: Routes) -> bool:
    """Whether what becomes of a message of that topic may depend on what earlier messages said."""
    route = route_of(topic, routes)
    return route is not None and may_define(route.format)


def _has_a_rate(route: Route) -> bool:
    contract = route.promises
    return contract is not None and any(rule.max_rate_per_s is not None for rule in contract.metrics.values())


@dataclass(slots=True)
class Neighbours:
    """Reads micro-batches for one retry. An object store that failed once is not asked again: each time-out is long."""

    settings: Settings
    database: Database
    failed: ObjectStoreError | None = None

    def read(self, source: Source) -> pa.Table:
        """Every message of that micro-batch, in received order.

        Raises:
            StagingError: it cannot be read; `retryable` where it may be later.
        """
        micro_batch = MicroBatch(source.hour.astimezone(UTC), source.name)
        try:
            return self._staging().read(micro_batch)
        except ObjectStoreError as err:
            self.failed = err
            raise
        except MissingMicroBatchError as err:
            if self.failed is not None:
                raise self.failed from err
            gone = bytes_deleted(self.database, (source.hour, source.hour + timedelta(hours=1)))
            if (at := gone.get(source.name)) is not None:
                raise BytesDeletedError(source.name, at=at) from err
            raise

    def _staging(self) -> Staging:
        """Without the object store, what still waits to be uploaded to it can be read."""
        return open_staging(self.settings) if self.failed is None else LocalStaging(staging_root(self.settings))
