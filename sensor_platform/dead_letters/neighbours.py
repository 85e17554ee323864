"""What a retry needs beside its messages: where neighbours have a say in them, the micro-batch that they came in.

A rate is judged, and a reading is thinned, beside other readings of one micro-batch. A message judged by itself would
pass, and stand in the metric tables where no clean pass has it. The neighbours are left as they stand: a backfill makes
them what they are beside the messages that got in.
"""

from datetime import UTC

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensor_platform.errors import DamagedMicroBatchError, MissingMicroBatchError
from sensor_platform.log import get_logger
from sensor_platform.pipeline.exceptions import thins
from sensor_platform.pipeline.outcome import Source
from sensor_platform.routes.model import Routes
from sensor_platform.settings import Settings
from sensor_platform.staging.format import MicroBatch
from sensor_platform.staging.store import open_staging


def has_a_say(routes: Routes) -> bool:
    """Whether what becomes of a message may depend on its neighbours."""
    contracts = [route.promises for route in routes if route.promises is not None]
    return thins(routes) or any(rule.max_rate_per_s is not None for one in contracts for rule in one.metrics.values())


def with_neighbours(settings: Settings, source: Source, messages: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """All messages of the micro-batch that `messages` came in, and which of them these are.

    Where its file is gone, `messages` alone: then they are judged among themselves.

    Raises:
        ObjectStoreError: the object store does not answer.
    """
    try:
        whole = open_staging(settings).read(MicroBatch(source.hour.astimezone(UTC), source.name))
    except (MissingMicroBatchError, DamagedMicroBatchError) as err:
        get_logger().warning("judged_without_neighbours", micro_batch=source.name, error=str(err))
        return messages, np.ones(len(messages), dtype=bool)
    own = pc.is_in(whole["sequence"], value_set=messages["sequence"].combine_chunks())
    return whole, np.asarray(own.to_numpy(), dtype=bool)
