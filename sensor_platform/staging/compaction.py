"""Compaction: many small files of a received hour become one, which takes a tenth of the room, or less.

It only ever adds before it takes away. A compacted file is written aside, synced, read back and held against the
originals, column by column of every message; then it gets its name, durably; then the originals go, one by one. Killed
anywhere, a micro-batch is in its own file, or in both, and never in neither; what is in both, the next call compares
again and settles. One at a time: the caller holds a lock. Should that be lost, the first of two may fail, and nothing
else: what one writes aside has a name that the other never writes to.
"""

import secrets
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from sensor_platform.errors import (
    DamagedMicroBatchError,
    MissingMicroBatchError,
    StagingError,
    StagingUnavailableError,
)
from sensor_platform.log import get_logger
from sensor_platform.staging.compacted import GREATEST_FILE_BYTES, CompactedFile, CompactedWriter, Entry, Original
from sensor_platform.staging.compacted_area import new_name, next_hour
from sensor_platform.staging.durable import make_folder
from sensor_platform.staging.format import EPOCH, StagedFile
from sensor_platform.staging.kill_points import kill_point
from sensor_platform.staging.store import Staging


class CompactionDiffersError(StagingError):
    """What was compacted is not what its original says: the original stays."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What was compacted, and the bytes of its files before and after. `damaged`: left as they are."""

    micro_batches: int = 0
    messages: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    damaged: int = 0

    def __add__(self, other: "Compacted") -> "Compacted":
        return Compacted(
            self.micro_batches + other.micro_batches,
            self.messages + other.messages,
            self.bytes_before + other.bytes_before,
            self.bytes_after + other.bytes_after,
            self.damaged + other.damaged,
        )


def compact_hour(staging: Staging, hour: datetime, names: Collection[str]) -> Compacted:
    """Compacts the micro-batches of `names` that lie in files of their own. Others of the hour stay as they are.

    Raises:
        CompactionDiffersError, DamagedMicroBatchError: what was written is not what was read, of the disk's or our
            fault; the originals stay.
        StagingUnavailableError, ObjectStoreError: disk or store do not take it; nothing is lost, calling again goes on.
    """
    try:
        return _compact_hour(staging, hour, names)
    except OSError as err:
        raise StagingUnavailableError(
            f"{staging.scratch()}: {err}. Nothing is lost: of what is not compacted yet the own files stay. Compaction "
            f"writes up to {GREATEST_FILE_BYTES // 2**20} MiB there before it deletes anything: is there room, and may "
            "we write? The next call goes on."
        ) from err


def _compact_hour(staging: Staging, hour: datetime, names: Collection[str]) -> Compacted:
    make_folder(staging.scratch())
    for left in staging.scratch().iterdir():  # of before a crash
        left.unlink(missing_ok=True)
    scratch = staging.scratch() / f"{secrets.token_hex(4)}.parquet"
    files = staging.files(hour, next_hour(hour))
    inside = {each for file in files if file.compacted for each in file.micro_batches}
    own = [file for file in files if not file.compacted and not file.waits and file.name in names]
    both = [file for file in own if file.micro_batches[0] in inside]  # of before a crash
    done = Compacted(damaged=sum(not _settle(staging, file) for file in both))
    waiting = deque(file for file in own if file.micro_batches[0] not in inside)
    while waiting:
        done += _compact_some(staging, hour, waiting, scratch)
    return done


def _compact_some(staging: Staging, hour: datetime, waiting: deque[StagedFile], scratch: Path) -> Compacted:
    """Takes from `waiting` what fits into one file."""
    n = len(waiting)
    try:
        taken, damaged = _write(staging, waiting, scratch)
        if not taken:
            return Compacted(damaged=damaged)
        messages, crc = _verify(staging, taken, scratch)
        kill_point("compaction_verified")
        bytes_after = scratch.stat().st_size
        staging.keep(scratch, new_name(hour, crc=crc))
    finally:
        scratch.unlink(missing_ok=True)
    kill_point("compaction_kept")
    for file in taken:
        staging.delete(file)
        kill_point("compaction_deleted")
    assert n == len(waiting) + len(taken) + damaged
    return Compacted(len(taken), messages, sum(file.size_bytes for file in taken), bytes_after, damaged)


def _write(staging: Staging, waiting: deque[StagedFile], scratch: Path) -> tuple[list[StagedFile], int]:
    """The files that were written, and how many could not be read."""
    taken: list[StagedFile] = []
    damaged = 0
    writer = CompactedWriter(scratch)
    try:
        while waiting and not writer.is_full:
            file = waiting.popleft()
            original = _original(staging, file)
            if original is None:
                damaged += 1
                continue
            writer.add(original)
            taken.append(file)
            kill_point("compaction_added")
        writer.finish()
    finally:
        writer.close()
    kill_point("compaction_synced")
    return taken, damaged


def _original(staging: Staging, file: StagedFile) -> Original | None:
    """None: it is damaged, or gone."""
    (micro_batch,) = file.micro_batches
    try:
        sealed = staging.read_sealed(micro_batch)
    except (DamagedMicroBatchError, MissingMicroBatchError) as err:
        get_logger().error("not_compacted", micro_batch=file.name, error=str(err))
        return None
    sealed_at = staging.sealed_at(micro_batch) or file.hour
    return Original(file.name, sealed, round((sealed_at - EPOCH).total_seconds() * 1_000_000))


def _verify(staging: Staging, taken: list[StagedFile], scratch: Path) -> tuple[int, int]:
    """Holds the file, as the disk has it, against the originals; how many messages it has, and its crc."""
    with pa.OSFile(str(scratch)) as source:
        compacted = CompactedFile(source, str(scratch), crc=None)
        index = compacted.index.entries
        group, of = pa.table({}), -1
        for file in taken:
            entry = index[file.name]
            if entry.row_group != of:
                group, of = compacted.row_group(entry.row_group), entry.row_group
            _compare(staging, file, entry, group.slice(entry.offset, entry.rows))
    if len(index) != len(taken):
        raise CompactionDiffersError(f"{scratch}: {len(index)} micro-batches are in it, {len(taken)} were written")
    return sum(entry.rows for entry in index.values()), compacted.crc


def _settle(staging: Staging, file: StagedFile) -> bool:
    """Deletes the original of what is compacted already, if that is the same; False: one of the two is damaged."""
    (micro_batch,) = file.micro_batches
    try:
        entry, messages = staging.compacted.entry(micro_batch), staging.compacted.read(micro_batch)
        if entry is None or messages is None:
            return True
        with suppress(MissingMicroBatchError):
            _compare(staging, file, entry, messages)
    except DamagedMicroBatchError as err:
        get_logger().error("not_compacted", micro_batch=file.name, error=str(err))
        return False
    staging.delete(file)
    return True


def _compare(staging: Staging, file: StagedFile, entry: Entry, messages: pa.Table) -> None:
    sealed = staging.read_sealed(file.micro_batches[0])
    same = messages.equals(sealed.messages) and entry.rows == sealed.messages.num_rows
    if not same or (entry.metadata, entry.new_sessions) != (sealed.metadata, sealed.new_sessions):
        raise CompactionDiffersError(
            f"{staging.where}: {file.name}: what was compacted is not what its own file has. Nothing was deleted: is "
            "the disk, or the memory, at fault? Compaction tries again."
        )
