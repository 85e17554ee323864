"""A staging area for the benchmark of the pipeline: real micro-batches, as a collector would have sealed them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from sensor_platform.staging.format import SCHEMA, Group, MicroBatch, file_name, hour_of, stamp, to_batch
from sensor_platform.staging.store import LocalStaging

SENSORS = 200
METRICS = ("force_main_cylinder", "stroke_position")
PAYLOAD_BYTES = 150
#: Between two messages, received and event time alike.
INTERVAL_US = 100
#: So late in its month that what a table had before can lie in the same partition.
FIRST_RECEIVED = datetime(2026, 3, 20, 8, tzinfo=UTC)
#: Places among a hundred messages of a sensor, see `rough_payload`.
RUBBISH = (7, 57)
REPEATS = (9, 59)
#: One record batch of a file, as a busy collector writes them.
GROUP_MESSAGES = 1_000


def payload(number: int, interval_us: int = INTERVAL_US) -> bytes:
    at = FIRST_RECEIVED + timedelta(microseconds=number * interval_us)
    value = 800 + number % 977 / 8
    document = {"timestamp": at.isoformat(), "metrics": dict(zip(METRICS, (value, value / 4), strict=True))}
    return json.dumps(document).encode().ljust(PAYLOAD_BYTES)


def rough_payload(number: int, interval_us: int = INTERVAL_US) -> bytes:
    """As of a plant that is not clean: of a hundred messages of a sensor two are rubbish and two repeat an earlier one.

    One repeats the message just before it, the other the last one of the hundred before, which most often is in another
    micro-batch.
    """
    turn, sensor = divmod(number, SENSORS)
    hundred, place = divmod(turn, 100)
    if place in RUBBISH:
        return b'{"timestamp": "yesterday", "metrics": {}}'.ljust(PAYLOAD_BYTES)
    if place in REPEATS:
        turn = hundred * 100 - 1 if place == REPEATS[1] and hundred else turn - 1
    return payload(turn * SENSORS + sensor, interval_us)


@dataclass(frozen=True, slots=True)
class Plant:
    """Messages are numbered; a number says everything about its message. Each has a time of its own and two metrics."""

    first: int
    messages: int
    interval_us: int = INTERVAL_US
    payload: Callable[[int, int], bytes] = payload

    @property
    def hours(self) -> tuple[datetime, datetime]:
        """The received hours of its first and its last message."""
        first, last = (self.first, self.first + self.messages - 1)
        received = [FIRST_RECEIVED + timedelta(microseconds=number * self.interval_us) for number in (first, last)]
        return received[0].replace(minute=0, second=0, microsecond=0), received[1].replace(
            minute=0, second=0, microsecond=0
        )

    def payloads(self) -> Iterator[tuple[str, bytes]]:
        """(sensor, payload) in received order."""
        for number in range(self.first, self.first + self.messages):
            yield f"press-{number % SENSORS}", self.payload(number, self.interval_us)

    def stage(self, staging: LocalStaging, *, micro_batch_messages: int) -> None:
        """Seals them, so many a file."""
        for start in range(self.first, self.first + self.messages, micro_batch_messages):
            _write(staging, self, start, min(micro_batch_messages, self.first + self.messages - start))


def _write(staging: LocalStaging, plant: Plant, first: int, count: int) -> None:
    def received_us(number: int) -> int:
        return int(FIRST_RECEIVED.timestamp() * 1e6) + number * plant.interval_us

    micro_batch = MicroBatch(hour_of(received_us(first)), file_name("bench", "0" * 8, first))
    path = staging.path(micro_batch)
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for start in range(first, first + count, GROUP_MESSAGES):
            numbers = range(start, min(start + GROUP_MESSAGES, first + count))
            group = Group(
                first_bytes=b"\x32" * len(numbers),
                topics=[b"factory/bench/sensors/press-%d/data" % (number % SENSORS) for number in numbers],
                payloads=[plant.payload(number, plant.interval_us) for number in numbers],
                packet_ids=[number % 65_535 + 1 for number in numbers],
                connection=1,
            )
            batch = to_batch(group, first_sequence=start, received_at_us=received_us(start))
            batch = pa.ipc.read_record_batch(batch.serialize(), SCHEMA)  # so that the crc is of what a reader sees
            writer.write_batch(batch, custom_metadata=stamp(batch, new_session=False))
