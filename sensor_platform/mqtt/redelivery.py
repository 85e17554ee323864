"""Which message is one that we staged already, sent again because our acknowledgement did not reach the broker.

Pure: no I/O, no clock. A redelivered message is staged all the same, with the sequence of the one that it repeats, so a
wrong guess can be undone. All 65,535 packet ids are known: with the newest 50 only, nearly all slipped through.
"""

import zlib
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sensor_platform.staging.columns import Numbers, numbers, to_booleans, to_numpy, valid_rows
from sensor_platform.staging.format import Group
from sensor_platform.staging.state import WINDOW_SCHEMA, WindowSnapshot

PACKET_IDS = 65536
DUP = 0x08
QOS_AND_RETAIN = np.uint8(0x07)
LENGTH_BITS = np.uint64(0xFFFFFFF)
NEVER = -1

Int64s = npt.NDArray[np.int64]
UInt8s = npt.NDArray[np.uint8]
UInt16s = npt.NDArray[np.uint16]
UInt64s = npt.NDArray[np.uint64]


def digests(topics: Sequence[bytes], payloads: Sequence[bytes], first_bytes: UInt8s) -> UInt64s:
    """What makes two deliveries the same message: topic, payload, QoS and RETAIN. Stable between processes.

    A crc of 32 bits, the payload's length and three bits. It is asked only of a DUP whose packet id an earlier
    connection used: nearly always the same message. Where it is another one, it passes for the same once in 2**32,
    and never when the two differ within four bytes; its row is kept all the same.
    """
    n = len(payloads)
    crcs = np.fromiter(map(zlib.crc32, payloads, map(zlib.crc32, topics)), np.uint64, n)
    lengths = np.fromiter(map(len, payloads), np.uint64, n)
    flags = (first_bytes & QOS_AND_RETAIN).astype(np.uint64)
    made: UInt64s = crcs | (lengths & LENGTH_BITS) << np.uint64(32) | flags << np.uint64(60)
    return made


class RedeliveryWindow:
    """The last message of each packet id: its sequence, digest, connection, and its place among the originals.

    Originals are messages that repeat no other. `reuse_distance` is how many of them lie at least between two uses of a
    packet id, where the broker counts its ids up: half the ids, since that many cannot be in flight.
    """

    def __init__(self, *, reuse_distance: int = PACKET_IDS // 2) -> None:
        self._reuse_distance = reuse_distance
        self._clear()
        self.connection = 0
        self.reuses_ids_early = False
        self._originals = 0

    def _clear(self) -> None:
        self._sequences: Int64s = np.full(PACKET_IDS, NEVER, np.int64)
        self._digests: UInt64s = np.zeros(PACKET_IDS, np.uint64)
        self._connections: Int64s = np.full(PACKET_IDS, NEVER, np.int64)
        self._places: Int64s = np.zeros(PACKET_IDS, np.int64)
        self._expected: deque[int] | None = None

    def connected(self) -> int:
        """A CONNACK came: the number of the new connection."""
        self.connection += 1
        self._expected = None
        return self.connection

    def forget(self) -> None:
        """The broker has no session any more: packet ids start over."""
        self._clear()

    def mark(self, group: Group, *, first_sequence: int) -> list[int | None] | None:
        """For each message the sequence of the one that it repeats; None when none does. Remembers the others."""
        ids = np.asarray(group.packet_ids, np.uint16)
        flags = np.frombuffer(group.first_bytes, np.uint8)
        hashes = digests(group.topics, group.payloads, flags)
        sequences = np.arange(first_sequence, first_sequence + len(ids), dtype=np.int64)
        if (flags & DUP).any() or self._expected:
            return self._mark_each(ids, flags, hashes, sequences)
        self._remember(ids, hashes, sequences, self.connection)
        if ids.any():
            self._expected = deque()  # a run of redelivered messages comes first or not at all
        return None

    def _mark_each(self, ids: UInt16s, flags: UInt8s, hashes: UInt64s, sequences: Int64s) -> list[int | None]:
        repeats: list[int | None] = [None] * len(ids)
        run: list[int] = []  # places in this group that the run of DUPs has marked so far
        for i in np.flatnonzero(ids).tolist():
            original = self._original(int(ids[i]), int(hashes[i])) if flags[i] & DUP else None
            if self.reuses_ids_early and not self._continues_run(original):
                original = None
                for place in run:  # not a suffix of what we know: keep both
                    repeats[place] = None
                    self._remember(ids[place : place + 1], hashes[place : place + 1], sequences[place : place + 1])
                run.clear()
            if original is None:
                one = slice(i, i + 1)
                self._remember(ids[one], hashes[one], sequences[one], check_reuse=not flags[i] & DUP)
            else:
                repeats[i] = original
                run.append(i)
        return repeats

    def _original(self, packet_id: int, message_digest: int) -> int | None:
        """The sequence of the message that a DUP of this connection repeats, as far as id and digest say."""
        sequence = int(self._sequences[packet_id])
        matches = (
            sequence != NEVER
            and self._connections[packet_id] < self.connection
            and self._digests[packet_id] == message_digest
            # Further back the broker has counted its ids once around: another message, however equal. A machine
            # that says "ON" for hours would lose one of 65,535 without this.
            and self._originals - self._places[packet_id] < self._reuse_distance
        )
        return sequence if matches else None

    def _continues_run(self, original: int | None) -> bool:
        """Where ids are reused early, DUPs after a reconnect must be the newest originals, all of them, in order."""
        if self._expected is None and original is not None:
            self._expected = deque(sorted(self._sequences[self._sequences > original].tolist()))
            return True
        if self._expected and original == self._expected[0]:
            self._expected.popleft()
            return True
        over = not self._expected
        self._expected = deque()
        return over and original is None

    def _remember(
        self,
        ids: UInt16s,
        hashes: UInt64s,
        sequences: Int64s,
        connection: int | None = None,
        *,
        check_reuse: bool = True,
    ) -> None:
        """These messages are the newest of their packet ids."""
        connection = self.connection if connection is None else connection
        known = ids != 0  # QoS 0 has no packet id
        if not known.all():
            ids, hashes, sequences = ids[known], hashes[known], sequences[known]
        places = np.arange(self._originals, self._originals + len(ids), dtype=np.int64)
        if check_reuse and not self.reuses_ids_early:
            again = self._connections[ids] == connection
            self.reuses_ids_early = bool((again & (places - self._places[ids] < self._reuse_distance)).any())
        self._sequences[ids] = sequences
        self._digests[ids] = hashes
        self._connections[ids] = connection
        self._places[ids] = places
        self._originals += len(ids)
        if check_reuse and not self.reuses_ids_early:  # twice in one group
            self.reuses_ids_early = bool((self._sequences[ids] != sequences).any())

    def snapshot(self) -> WindowSnapshot:
        """What a restart needs."""
        ids = np.flatnonzero(self._sequences != NEVER)
        columns: list[Numbers] = [
            ids.astype(np.uint16),
            self._sequences[ids],
            self._digests[ids],
            self._connections[ids],
            self._places[ids],
        ]
        arrays = [numbers(column, field.type) for column, field in zip(columns, WINDOW_SCHEMA, strict=True)]
        rows = pa.RecordBatch.from_arrays(arrays, schema=WINDOW_SCHEMA)
        return WindowSnapshot(rows, self.connection, self._originals, self.reuses_ids_early)

    def restore(self, snapshot: WindowSnapshot) -> None:
        """Stands where the snapshot was taken."""
        self._clear()
        ids, sequences, hashes, connections, places = snapshot.rows.columns
        known = to_numpy(ids, np.uint16)
        self._sequences[known] = to_numpy(sequences, np.int64)
        self._digests[known] = to_numpy(hashes, np.uint64)
        self._connections[known] = to_numpy(connections, np.int64)
        self._places[known] = to_numpy(places, np.int64)
        self.connection = snapshot.connection
        self._originals = snapshot.originals
        self.reuses_ids_early = snapshot.reuses_ids_early

    def replay(self, batch: pa.RecordBatch, *, new_session: bool) -> None:
        """Learns a staged group again, as `mark` did before the crash."""
        if new_session:
            self.forget()
        connection = batch.column("connection")[0].as_py()
        self.connection = max(self.connection, connection)
        original = ~valid_rows(batch.column("redelivery_of"))
        ids = np.where(valid_rows(batch.column("packet_id")), to_numpy(batch.column("packet_id"), np.uint16), 0)[
            original
        ]
        first_bytes = (to_numpy(batch.column("qos"), np.uint8) << np.uint8(1)) | to_booleans(batch.column("retain"))
        topics, payloads = batch.column("topic").to_pylist(), batch.column("payload").to_pylist()
        hashes = digests(topics, payloads, first_bytes)[original]
        sequences = to_numpy(batch.column("sequence"), np.int64)[original]
        fresh = not to_booleans(batch.column("dup")).any()
        self._remember(ids, hashes, sequences, connection, check_reuse=fresh)
