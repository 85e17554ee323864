"""A file torn at any byte, or with any bit flipped, gives back every whole group and nothing else."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor_platform.staging import recover
from sensor_platform.staging.state import CollectorState
from sensor_platform.staging.state import write_state as real_write_state
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.staging.groups import group, open_file, writer

GROUPS = [[b"a" * 50, b"b"], [b"c"], [b"", b"\xff\xff\xff\xff" * 9, b"e" * 300], [b"f", b"g"]]


@pytest.fixture(scope="module")
def crashed() -> Iterator[tuple[Path, list[int]]]:
    """A staging area whose collector died after four groups, and where each group ends in the open file."""
    root = Path(tempfile.mkdtemp())
    ends = []
    with writer(root) as staging:
        staging.recover()
        for number, payloads in enumerate(GROUPS):
            staging.stage(group(*payloads, first_id=1 + 10 * number))
            ends.append(open_file(root).stat().st_size)
    yield root, ends
    shutil.rmtree(root)


def recovered(crashed_root: Path, data: bytes) -> list[bytes]:
    """What a start finds when the open file has these bytes."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "staging"
        shutil.copytree(crashed_root, root)
        open_file(root).write_bytes(data)
        with writer(root) as staging:
            staging.recover()
            assert list(staging.folder.glob("*.arrow")) == []
            staging.stage(group(b"after"))
            staging.seal()
        store = LocalStaging(root)
        payloads = [row for each in store.micro_batches() for row in store.read(each)["payload"].to_pylist()]
        assert payloads.pop() == b"after"
        return payloads


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_torn_at_any_byte_the_groups_before_are_kept(crashed: tuple[Path, list[int]], data: st.DataObject) -> None:
    root, ends = crashed
    whole = open_file(root).read_bytes()
    cut = data.draw(st.one_of(st.integers(0, len(whole)), st.sampled_from(ends)))
    kept = [payload for end, payloads in zip(ends, GROUPS, strict=True) if end <= cut for payload in payloads]
    assert recovered(root, whole[:cut]) == kept


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_zeroed_tail_is_cut(crashed: tuple[Path, list[int]], data: st.DataObject) -> None:
    root, ends = crashed
    whole = open_file(root).read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    kept = [payload for end, payloads in zip(ends, GROUPS, strict=True) if end <= cut for payload in payloads]
    found = recovered(root, whole[:cut] + bytes(len(whole) - cut))
    # Bytes that were zero anyway make no difference: the group they end is whole.
    assert found[: len(kept)] == kept
    assert found == [payload for payloads in GROUPS for payload in payloads][: len(found)]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_flipped_bit_costs_its_own_group_only(crashed: tuple[Path, list[int]], data: st.DataObject) -> None:
    root, ends = crashed
    flipped = bytearray(open_file(root).read_bytes())
    place = data.draw(st.integers(0, len(flipped) - 1))
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    hit = next(number for number, end in enumerate(ends) if place < end)
    others = [payload for number, payloads in enumerate(GROUPS) if number != hit for payload in payloads]
    everything = [payload for payloads in GROUPS for payload in payloads]
    assert recovered(root, bytes(flipped)) in (others, everything)  # all of it where the bit says nothing


def test_a_damaged_file_is_kept_aside(crashed: tuple[Path, list[int]], tmp_path: Path) -> None:
    root = tmp_path / "staging"
    shutil.copytree(crashed[0], root)
    broken = bytearray(open_file(root).read_bytes())
    broken[broken.find(b"a" * 50)] ^= 1
    open_file(root).write_bytes(broken)
    with writer(root) as staging:
        staging.recover()
        (aside,) = (staging.folder / "damaged").iterdir()
        assert aside.read_bytes() == bytes(broken)


def test_what_the_state_names_is_on_the_disk_before_it(
    crashed: tuple[Path, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "staging"
    shutil.copytree(crashed[0], root)
    synced: set[int] = set()
    real_fsync = os.fsync

    def fsync(fd: int) -> None:
        real_fsync(fd)
        synced.add(os.fstat(fd).st_ino)

    def write_state(folder: Path, state: CollectorState) -> None:
        assert open_file(root).stat().st_ino in synced
        real_write_state(folder, state)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(recover, "write_state", write_state)
    with writer(root) as staging:
        staging.recover()


def test_recovery_that_died_half_way_is_finished_by_the_next(crashed: tuple[Path, list[int]], tmp_path: Path) -> None:
    root = tmp_path / "staging"
    shutil.copytree(crashed[0], root)
    torn = open_file(root).read_bytes()
    path = open_file(root)
    with writer(root) as staging:
        staging.recover()
    path.write_bytes(torn)  # as if it had died before the torn file was removed
    path.with_name(f"{path.name}.copy").write_bytes(torn[:100])
    with writer(root) as staging:
        staging.recover()
        staging.stage(group(b"after"))
        staging.seal()
    store = LocalStaging(root)
    assert [store.count(each) for each in store.micro_batches()] == [8, 1]
    assert store.read(store.micro_batches()[1])["sequence"].to_pylist() == [8]
