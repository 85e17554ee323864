"""A micro-batch that an earlier version staged: whatever is upgraded since, it reads, and its checksums hold.

The checksum of a record batch is over the bytes that pyarrow makes of it: a pyarrow that makes others would call every
staged file damaged.
"""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from sensor_platform.errors import DamagedMicroBatchError
from sensor_platform.staging.format import MicroBatch, is_whole, stamp
from sensor_platform.staging.store import LocalStaging
from sensor_platform.staging.torn import read_torn

NAME = "c0-0123abcd-00000007"
GOLDEN = Path(__file__).parent / "golden" / f"{NAME}.arrow"
MICRO_BATCH = MicroBatch(datetime(2025, 11, 1, 12, tzinfo=UTC), NAME)
RECEIVED_AT = datetime(2025, 11, 1, 12, 26, 40, tzinfo=UTC)
PLAIN = {"qos": 1, "retain": False, "dup": False, "connection": 4, "redelivery_of": None, "content_type": None}
PLAIN |= {"user_properties": None}
FIRST_GROUP = [
    {**PLAIN, "topic": b"a/b", "payload": b"1", "packet_id": 7},
    {**PLAIN, "topic": b"\xff\xfe", "payload": b"", "packet_id": None, "qos": 0, "retain": True}
    | {"content_type": "text/plain"},
    {**PLAIN, "topic": b"", "payload": b"\0\0\0", "packet_id": 65535, "retain": True, "dup": True}
    | {"redelivery_of": 39, "user_properties": [("k", "v"), ("k", "ü")]},
]
TOPIC = b"factory/press-3/sensors/force/data"
SECOND_GROUP = [
    {**PLAIN, "topic": TOPIC, "payload": b'{"value": %d}' % n, "packet_id": n + 1, "connection": 5} for n in range(5)
]


@pytest.fixture
def staging(tmp_path: Path) -> LocalStaging:
    store = LocalStaging(tmp_path)
    path = store.path(MICRO_BATCH)
    path.parent.mkdir(parents=True)
    shutil.copy(GOLDEN, path)
    return store


def test_a_micro_batch_of_an_earlier_version_is_read_to_the_last_bit(staging: LocalStaging) -> None:
    rows = staging.read(MICRO_BATCH).to_pylist()
    micros = [0, 1, 2, 10, 11, 12, 13, 14]
    assert [row.pop("received_at") for row in rows] == [RECEIVED_AT + timedelta(microseconds=us) for us in micros]
    assert [row.pop("sequence") for row in rows] == list(range(40, 48))
    assert rows == FIRST_GROUP + SECOND_GROUP


def test_torn_it_is_read_too_and_keeps_its_session_marker() -> None:
    torn = read_torn(GOLDEN)
    assert [(each.batch.num_rows, each.new_session) for each in torn.batches] == [(3, True), (5, False)]


def test_todays_pyarrow_makes_the_bytes_that_the_checksums_are_of() -> None:
    reader = pa.ipc.open_file(GOLDEN)
    for number in range(reader.num_record_batches):
        got = reader.get_batch_with_custom_metadata(number)
        assert is_whole(got.batch, got.custom_metadata)
        again = stamp(got.batch, new_session=number == 0)
        assert {name.encode(): value.encode() for name, value in again.items()} == dict(got.custom_metadata)


def test_the_checksums_notice_one_flipped_bit(staging: LocalStaging) -> None:
    path = staging.path(MICRO_BATCH)
    path.write_bytes(path.read_bytes().replace(b'{"value": 3}', b'{"value": 7}'))
    with pytest.raises(DamagedMicroBatchError):
        staging.read(MICRO_BATCH)
