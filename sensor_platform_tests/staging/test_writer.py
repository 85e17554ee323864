"""Appending and sealing: what is staged is what came, under names and sequences that never come again."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from sensor_platform.errors import CollectorBusyError, DamagedMicroBatchError, StagingError, StagingUnavailableError
from sensor_platform.staging.clock import ReceivedClock
from sensor_platform.staging.format import Group, MicroBatch, number_of
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.staging.groups import group, open_file, writer


def test_what_is_sealed_is_what_came(tmp_path: Path) -> None:
    came = Group(
        first_bytes=bytes([0x32, 0x31, 0x3B]),  # QoS 1; QoS 0 retained; QoS 1 retained DUP
        topics=[b"a/b", b"\xff\xfe", b""],
        payloads=[b"1", b"", b"\x00" * 3],
        packet_ids=[7, 0, 65535],
        connection=4,
        content_types={1: "text/plain"},
        user_properties={2: [("k", "v"), ("k", "ü")]},
    )
    with writer(tmp_path) as staging:
        staging.recover()
        staging.stage(came)
        staging.seal()
    store = LocalStaging(tmp_path)
    rows = store.read(store.micro_batches()[0]).drop_columns(["received_at"]).to_pylist()
    nothing = {"redelivery_of": None, "content_type": None, "user_properties": None, "connection": 4}
    assert rows == [
        {
            **nothing,
            "sequence": 0,
            "topic": b"a/b",
            "payload": b"1",
            "qos": 1,
            "retain": False,
            "dup": False,
            "packet_id": 7,
        },
        {**nothing, "sequence": 1, "topic": b"\xff\xfe", "payload": b"", "qos": 0, "retain": True, "dup": False}
        | {"packet_id": None, "content_type": "text/plain"},
        {**nothing, "sequence": 2, "topic": b"", "payload": b"\x00\x00\x00", "qos": 1, "retain": True, "dup": True}
        | {"packet_id": 65535, "user_properties": [("k", "v"), ("k", "ü")]},
    ]


def test_sealed_files_lie_by_received_hour_and_other_engines_read_them(tmp_path: Path) -> None:
    with writer(tmp_path) as staging:
        staging.recover()
        staging.stage(group(b"1", b"2"))
        staging.seal()
        staging.stage(group(b"3"))
        name = f"c0-{staging.incarnation}-00000000"
    (micro_batch,) = LocalStaging(tmp_path).micro_batches()
    assert micro_batch.name == name
    hour = micro_batch.hour
    path = tmp_path / f"dt={hour:%Y-%m-%d}" / f"hour={hour:%H}" / f"{name}.arrow"
    assert path.exists()
    table = ds.dataset(tmp_path, format="ipc", partitioning="hive").to_table()  # the open file is not in it
    assert table["payload"].to_pylist() == [b"1", b"2"]
    received = table["received_at"].to_pylist()
    assert received[0] < received[1]
    assert hour == received[0].replace(minute=0, second=0, microsecond=0)


def test_counters_run_on_over_restarts(tmp_path: Path) -> None:
    for number in range(3):
        with writer(tmp_path) as staging:
            staging.recover()
            staging.stage(group(b"x", b"y"))
            if number == 1:
                staging.seal()
    with writer(tmp_path) as staging:
        staging.recover()
        incarnation = staging.incarnation
    store = LocalStaging(tmp_path)
    assert [each.name for each in store.micro_batches()] == [f"c0-{incarnation}-0000000{n}" for n in range(3)]
    tables = [store.read(each) for each in store.micro_batches()]
    assert [table["sequence"].to_pylist() for table in tables] == [[0, 1], [2, 3], [4, 5]]
    received = [at for table in tables for at in table["received_at"].to_pylist()]
    assert received == sorted(set(received))


def test_files_are_in_the_order_of_counters_whatever_the_wall_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is set back by a day between two starts, and forward by a year while it runs."""
    wall_ns = time.time_ns()
    clock = partial(ReceivedClock, wall_ns=lambda: wall_ns)
    monkeypatch.setattr("sensor_platform.staging.writer.ReceivedClock", clock)
    for days in (0, -1, 365):
        wall_ns += days * 86_400 * 10**9
        with writer(tmp_path) as staging:
            staging.recover()
            for payload in (b"a", b"b"):
                staging.stage(group(payload))
                staging.seal()
                wall_ns += 366 * 86_400 * 10**9 if days else 0
    store = LocalStaging(tmp_path)
    found = store.micro_batches()
    assert [number_of(each.name) for each in found] == [0, 1, 2, 3, 4, 5]
    assert [row for each in found for row in store.read(each)["sequence"].to_pylist()] == [0, 1, 2, 3, 4, 5]
    received = [at for each in found for at in store.read(each)["received_at"].to_pylist()]
    assert received == sorted(set(received))


def test_counters_that_are_lost_begin_a_new_incarnation(tmp_path: Path) -> None:
    with writer(tmp_path) as staging:
        staging.recover()
        staging.stage(group(b"x"))
        first = staging.incarnation
        state = staging.folder / "state"
    state.write_bytes(state.read_bytes().replace(first.encode(), b"ffffffff"))  # its crc is wrong now
    with writer(tmp_path) as staging:
        staging.recover()
        staging.stage(group(b"y"))
        staging.seal()
        second = staging.incarnation
    assert first != second
    assert {each.name for each in LocalStaging(tmp_path).micro_batches()} == {
        f"c0-{first}-00000000",
        f"c0-{second}-00000000",
    }


def test_it_is_due_by_size_and_by_age(tmp_path: Path) -> None:
    with writer(tmp_path, max_messages=3, max_age_s=3600) as staging:
        staging.recover()
        assert staging.due_in_s is None
        staging.stage(group(b"1", b"2"))
        assert staging.due_in_s is not None
        assert 3500 < staging.due_in_s <= 3600
        staging.stage(group(b"3"))
        assert staging.due_in_s == 0


def test_an_idle_writer_makes_no_file(tmp_path: Path) -> None:
    with writer(tmp_path) as staging:
        staging.recover()
        staging.seal()
    assert list(tmp_path.rglob("*.arrow")) == []


def test_one_folder_has_one_collector(tmp_path: Path) -> None:
    with writer(tmp_path), pytest.raises(CollectorBusyError, match=f"pid {os.getpid()} on "), writer(tmp_path):
        pass
    with writer(tmp_path) as free_again:
        free_again.recover()


def test_open_messages_are_counted_while_they_are_written(tmp_path: Path) -> None:
    store = LocalStaging(tmp_path)
    with writer(tmp_path) as staging:
        staging.recover()
        assert store.open_messages() == 0
        staging.stage(group(b"1", b"2"))
        staging.stage(group(b"3"))
        assert store.open_messages() == 3
        staging.seal()
        assert store.open_messages() == 0
        assert store.count(store.micro_batches()[0]) == 3


def test_micro_batches_are_found_by_hour_and_by_name(tmp_path: Path) -> None:
    with writer(tmp_path) as staging:
        staging.recover()
        staging.stage(group(b"1"))
        staging.seal()
    (tmp_path / "dt=not-a-day" / "hour=25").mkdir(parents=True)
    store = LocalStaging(tmp_path)
    (only,) = store.micro_batches()
    assert store.micro_batches(start=only.hour) == [only]
    assert store.micro_batches(end=only.hour) == []
    assert store.find(only.name) == only
    assert store.find("c0-00000000-00000000") is None


def test_reading_what_is_not_there_or_damaged_says_which_file(tmp_path: Path) -> None:
    with writer(tmp_path) as staging:
        staging.recover()
        staging.stage(group(b"payload-one", b"payload-two"))
        staging.seal()
    store = LocalStaging(tmp_path)
    (only,) = store.micro_batches()
    with pytest.raises(StagingError, match="no such micro-batch"):
        store.read(MicroBatch(datetime(2020, 1, 1, tzinfo=UTC), "c0-00000000-00000000"))
    data = bytearray(store.path(only).read_bytes())
    data[data.find(b"payload-one")] ^= 0x20
    store.path(only).write_bytes(data)
    with pytest.raises(DamagedMicroBatchError, match="does not match its crc"):
        store.read(only)
    store.path(only).write_bytes(data[:-20])
    with pytest.raises(DamagedMicroBatchError):
        store.read(only)


SYNC_FAILS = """
import os
import sys
from pathlib import Path
from sensor_platform.errors import StagingUnavailableError
from sensor_platform_tests.staging.groups import group, writer

root = Path(sys.argv[1])
with writer(root) as staging:
    staging.recover()
    staging.stage(group(b"durable"))
    # The kernel refuses the fd from now on, as a dying disk would: every later write and fsync fails.
    os.close(staging._open._fd)
    try:
        staging.stage(group(b"refused", first_id=2))
    except StagingUnavailableError as err:
        print(err)
    assert not staging.is_ready
    staging.recover()
    staging.stage(group(b"refused", first_id=2, connection=2, dup=True))
    staging.seal()
"""


def test_a_file_that_fails_is_abandoned_and_what_was_durable_is_sealed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SYNC_FAILS, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "Messages stay with the broker" in done.stdout
    store = LocalStaging(tmp_path)
    tables = [store.read(each) for each in store.micro_batches()]
    assert [table["payload"].to_pylist() for table in tables] == [[b"durable"], [b"refused"]]
    assert [table["sequence"].to_pylist() for table in tables] == [[0], [1]]
    assert tables[1]["redelivery_of"].to_pylist() == [None]  # it was on no disk


def test_a_file_name_that_is_taken_is_not_overwritten(tmp_path: Path) -> None:
    with writer(tmp_path) as staging:
        staging.recover()
        staging.stage(group(b"1"))
        taken = open_file(tmp_path)
        staging.seal()
        taken.write_bytes(b"not ours")
        staging.stage(group(b"2"))
        assert taken.read_bytes() == b"not ours"
    assert StagingUnavailableError.retryable


def test_a_folder_that_an_upload_removes_under_a_seal_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_link, removed = os.link, []

    def link(path: Path, target: Path) -> None:
        if len(removed) < 3:  # as `LocalStaging.delete` does with a folder that it has emptied
            removed.append(target.parent)
            target.parent.rmdir()
            target.parent.parent.rmdir()
        real_link(path, target)

    monkeypatch.setattr(os, "link", link)
    with writer(tmp_path) as staging:
        staging.recover()
        staging.stage(group(b"1"))
        staging.seal()
        assert staging.is_ready
    assert len(removed) == 3
    store = LocalStaging(tmp_path)
    assert [store.count(each) for each in store.micro_batches()] == [1]
