"""Messages on disk until the broker has confirmed them: an ordered, bounded queue in one SQLite file.

Not a log of our own: SQLite's commit outlives a power cut, the room of what was sent is used again, and several
processes may add at once. One at a time sends.
"""

import fcntl
import json
import os
import sqlite3
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from sensor_platform.errors import (
    InvalidMessageError,
    OfflineQueueBusyError,
    OfflineQueueError,
    OfflineQueueFullError,
)
from sensor_platform.mqtt.message import Message, MessageProperties
from sensor_platform.staging.durable import make_folder

DATABASE_FILE = "queue.sqlite"
LOCK_FILE = "sending"
#: Another process may make room, and tells nobody.
LOOK_AGAIN_S = 0.05
BUSY_TIMEOUT_S = 30

#: `total` is kept by triggers: counting a long queue at each message would be slow.
SCHEMA = """
create table if not exists message (
    id integer primary key autoincrement,
    queued_at real not null,
    topic text not null,
    payload blob not null,
    qos integer not null,
    retain integer not null,
    properties text not null,
    size_bytes integer not null,
    refused text
);
create index if not exists waiting on message (id) where refused is null;
create table if not exists total (messages integer not null, bytes integer not null, refused integer not null);
insert into total select 0, 0, 0 where not exists (select 1 from total);
create trigger if not exists added after insert on message begin
    update total set messages = messages + 1, bytes = bytes + new.size_bytes;
end;
create trigger if not exists removed after delete on message begin
    update total set messages = messages - 1, bytes = bytes - old.size_bytes,
        refused = refused - (old.refused is not null);
end;
create trigger if not exists judged after update of refused on message begin
    update total set refused = refused + (new.refused is not null) - (old.refused is not null);
end;
"""


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message and its place. `queued_at`: Unix time, for its expiry."""

    id: int
    queued_at: float
    message: Message


@dataclass(frozen=True, slots=True)
class QueueTotals:
    """`refused` are kept, and count towards the bound, but are not sent again by themselves."""

    waiting: int
    refused: int
    size_bytes: int


class OfflineQueue:
    """`with OfflineQueue(folder) as queue: queue.put(message)`: on the disk when `put` returns. Any thread may call.

    Args:
        max_messages, max_bytes: the bound, of topics, payloads and properties.
        when_full: "refuse" raises, "block" waits until something was sent.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_messages: int = 100_000,
        max_bytes: int = 256 * 1024 * 1024,
        when_full: Literal["block", "refuse"] = "refuse",
    ) -> None:
        self.folder = folder
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._when_full = when_full
        self._lock = threading.Lock()  # one connection, many threads

    def __enter__(self) -> Self:
        try:
            make_folder(self.folder)
            self._sql = sqlite3.connect(
                self.folder / DATABASE_FILE, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as err:
            raise self._failed(err) from err
        try:
            self._sql.execute("pragma journal_mode = wal").close()  # one fsync a commit
            self._sql.execute("pragma synchronous = full").close()
            self._sql.executescript(f"begin immediate; {SCHEMA} commit;")
        except sqlite3.Error as err:
            self._sql.close()
            raise self._failed(err) from err
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sql.close()

    def put(self, message: Message, *, stop: threading.Event | None = None) -> None:
        """Durable when it returns.

        Raises:
            OfflineQueueFullError: the bound is reached ("refuse"), or `stop` was set while it waited ("block").
            OfflineQueueError: the disk does not take it.
            InvalidMessageError: QoS 0, which is never confirmed.
        """
        if message.qos == 0:
            raise InvalidMessageError(
                f'"{message.topic}": QoS 0 is never confirmed, so it would never leave the queue. Use QoS 1 or 2.'
            )
        while not self._added(message):
            if self._when_full == "refuse" or message.size_bytes > self._max_bytes or (stop and stop.is_set()):
                raise OfflineQueueFullError(
                    f"{self.folder}: the queue is full ({self._max_messages} messages or {self._max_bytes} bytes), "
                    f'"{message.topic}" is not in it. Send what waits: sensor-platform publish --drain.'
                )
            time.sleep(LOOK_AGAIN_S)

    def head(self, *, limit: int, max_bytes: int) -> list[QueuedMessage]:
        """The oldest that wait: up to `limit`, and up to `max_bytes` after the first."""
        found: list[QueuedMessage] = []
        size = 0
        with self._transaction() as sql:
            query = "select id, queued_at, topic, payload, qos, retain, properties, size_bytes from message"
            for row in sql.execute(f"{query} where refused is null order by id limit ?", [limit]):
                size += row[7]
                if found and size > max_bytes:
                    break
                found.append(_queued(row))
        return found

    def remove(self, ids: Sequence[int]) -> None:
        """Those that the broker has confirmed."""
        with self._transaction(write=True) as sql:
            sql.executemany("delete from message where id = ?", [(each,) for each in ids])

    def set_aside(self, refused: Sequence[tuple[int, str]]) -> None:
        """(id, reason) of those that the broker refused: kept, and not sent again until `restore`."""
        with self._transaction(write=True) as sql:
            sql.executemany("update message set refused = ? where id = ?", [(why, each) for each, why in refused])

    def restore(self) -> None:
        """What was set aside waits again, at its old place."""
        with self._transaction(write=True) as sql:
            sql.execute("update message set refused = null where refused is not null")

    def discard_refused(self) -> int:
        """Forgets what was set aside, and says how many."""
        with self._transaction(write=True) as sql:
            return sql.execute("delete from message where refused is not null").rowcount

    def totals(self) -> QueueTotals:
        with self._transaction() as sql:
            messages, size, refused = sql.execute("select messages, bytes, refused from total").fetchone()
        return QueueTotals(waiting=messages - refused, refused=refused, size_bytes=size)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Held by the one that sends: two would change the order. Raises OfflineQueueBusyError."""
        fd = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as err:
            raise OfflineQueueBusyError(f"{self.folder}: another process is sending what stands in this queue") from err
        finally:
            os.close(fd)  # and with it the lock

    def _added(self, message: Message) -> bool:
        size = message.size_bytes
        with self._transaction(write=True) as sql:
            messages, used = sql.execute("select messages, bytes from total").fetchone()
            if messages >= self._max_messages or used + size > self._max_bytes:
                return False
            row = (time.time(), message.topic, message.payload, message.qos, message.retain)
            sql.execute(
                "insert into message (queued_at, topic, payload, qos, retain, properties, size_bytes) "
                "values (?, ?, ?, ?, ?, ?, ?)",
                (*row, _to_json(message.properties), size),
            )
        return True

    @contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._sql.execute("begin immediate" if write else "begin")
                with self._sql:  # commits, or rolls back
                    yield self._sql
            except sqlite3.Error as err:
                raise self._failed(err) from err

    def _failed(self, err: Exception) -> OfflineQueueError:
        return OfflineQueueError(f"{self.folder}: the queue of unsent messages does not work: {err}. Check the disk.")


def _queued(row: tuple[int, float, str, bytes, int, int, str, int]) -> QueuedMessage:
    place, queued_at, topic, payload, qos, retain, properties, _ = row
    return QueuedMessage(place, queued_at, Message(topic, payload, qos, bool(retain), _from_json(properties)))


def _to_json(properties: MessageProperties) -> str:
    facts = {name: value for name, value in asdict(properties).items() if value not in (None, ())}
    if properties.correlation_data is not None:
        facts["correlation_data"] = b64encode(properties.correlation_data).decode()
    return json.dumps(facts)


def _from_json(text: str) -> MessageProperties:
    facts = json.loads(text)
    if "correlation_data" in facts:
        facts["correlation_data"] = b64decode(facts["correlation_data"])
    facts["user_properties"] = tuple((name, value) for name, value in facts.get("user_properties", ()))
    return MessageProperties(**facts)
