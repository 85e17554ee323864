"""Sealed micro-batches of any hour: the collector's writer knows only the present one."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pyarrow as pa

from sensor_platform.staging.format import (
    EPOCH,
    SCHEMA,
    Group,
    MicroBatch,
    file_name,
    folder_of,
    stamp,
    to_batch,
)

_numbers = count(1)
TOPIC = b"factory/line/sensors/press/data"
QOS_1 = 0x32


def stage(root: Path, hour: datetime, payloads: Sequence[bytes], *, topic: bytes = TOPIC) -> MicroBatch:
    """Writes one sealed micro-batch whose first message was received ten minutes into `hour`."""
    number = next(_numbers)
    n = len(payloads)
    group = Group(
        first_bytes=bytes([QOS_1] * n), topics=[topic] * n, payloads=payloads, packet_ids=range(1, n + 1), connection=1
    )
    received_at_us = (hour + timedelta(minutes=10) - EPOCH) // timedelta(microseconds=1) + number
    batch = to_batch(group, first_sequence=number * 1_000_000, received_at_us=received_at_us)
    micro_batch = MicroBatch(hour, file_name("t0", "0123456789ab", number))
    folder = root / folder_of(hour)
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"format_version": "1", "collector": "t0"}
    with pa.ipc.new_file(str(folder / f"{micro_batch.name}.arrow"), SCHEMA.with_metadata(metadata)) as writer:
        writer.write_batch(batch, custom_metadata=stamp(batch, new_session=False))
    return micro_batch


def reading(value: float, *, at: datetime) -> bytes:
    return json.dumps({"timestamp": at.isoformat(), "value": value}).encode()
