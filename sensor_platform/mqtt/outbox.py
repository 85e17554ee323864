"""A publisher that outlives the broker's absence: `publish` returns when the message is on the disk, a thread sends it.

In the order of the queue, at least once: a message leaves the queue after its confirmation, so a crash in between sends
it again. What the broker refuses for good is set aside with the reason, or it would hold up all that comes after it; so
is what nobody subscribes to, but not at once: after an outage subscribers come back later than the broker.
"""

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from sensor_platform.errors import (
    BrokerError,
    MessageRefusedError,
    NoMatchingSubscribersError,
    OfflineQueueBusyError,
    SensorPlatformError,
)
from sensor_platform.log import get_logger
from sensor_platform.mqtt.backoff import Backoff
from sensor_platform.mqtt.message import NO_PROPERTIES, Message, MessageProperties
from sensor_platform.mqtt.offline_queue import OfflineQueue, QueuedMessage
from sensor_platform.mqtt.publisher import Publisher
from sensor_platform.settings import Settings

#: So many are sent again at most after a crash.
BATCH_MESSAGES = 500
BATCH_BYTES = 16 * 1024 * 1024
#: Messages of other processes come without a word.
LOOK_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of queued messages. `unmatched` and `refused` are set aside in the queue, `expired` are gone."""

    confirmed: int = 0
    unmatched: int = 0
    refused: int = 0
    expired: int = 0

    def __add__(self, more: "Delivered") -> "Delivered":
        return Delivered(
            self.confirmed + more.confirmed,
            self.unmatched + more.unmatched,
            self.refused + more.refused,
            self.expired + more.expired,
        )


class Outbox:
    """`with OfflineQueue(folder) as queue, Outbox(settings, queue) as outbox: outbox.publish("plant/press", b"1")`.

    `unmatched_for_s`: how long a message that nobody subscribes to is tried again before it is set aside.
    Leaving ends the thread after what is in flight; the rest waits in the queue for the next one.
    """

    def __init__(
        self,
        settings: Settings,
        queue: OfflineQueue,
        *,
        stall_timeout_s: float = 10,
        unmatched_for_s: float = 30,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._stall_timeout_s = stall_timeout_s
        self._unmatched_for_s = unmatched_for_s
        self._unmatched_since: float | None = None
        self._backoff = Backoff(least_s=settings.mqtt.reconnect_min_s, most_s=settings.mqtt.reconnect_max_s)
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._changed = threading.Condition()  # guards the three below
        self._delivered = Delivered()
        self._trouble: SensorPlatformError | None = None
        self._progress_at = 0.0
        self._thread = threading.Thread(target=self._run, name="outbox")

    def __enter__(self) -> Self:
        self._progress_at = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join()

    @property
    def delivered(self) -> Delivered:
        """Since it began."""
        with self._changed:
            return self._delivered

    @property
    def trouble(self) -> SensorPlatformError | None:
        """Why nothing is sent just now."""
        with self._changed:
            return self._trouble

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        properties: MessageProperties = NO_PROPERTIES,
    ) -> None:
        """On the disk when it returns. Raises as `OfflineQueue.put` does."""
        self._queue.put(Message(topic, payload, qos, retain, properties), stop=self._stop)
        self._wake.set()

    def wait_until_sent(self, *, give_up_after_s: float) -> bool:
        """Whether nothing waits any more; False when nothing was sent for so long, and `trouble` says why."""
        began = time.monotonic()
        while self._queue.totals().waiting:
            with self._changed:
                idle_s = time.monotonic() - max(began, self._progress_at)
                ends_by_itself = self._trouble is None or isinstance(self._trouble, NoMatchingSubscribersError)
                if not ends_by_itself and idle_s >= give_up_after_s:
                    return False
                self._changed.wait(LOOK_AGAIN_S)
        return True

    # In the thread.

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self._queue.totals().waiting:
                    self._connect_and_send()
                else:
                    self._rest(LOOK_AGAIN_S)
            except SensorPlatformError as err:
                self._tell(trouble=err)
                self._rest(LOOK_AGAIN_S if isinstance(err, OfflineQueueBusyError) else self._backoff.next_s())
            except Exception as err:  # noqa: BLE001  the top of a thread: what is not sent stays in the queue
                self._tell(trouble=SensorPlatformError(f"{self._queue.folder}: cannot be sent: {err!r}"))
                self._rest(self._backoff.next_s())

    def _connect_and_send(self) -> None:
        with self._queue.sending(), Publisher(self._settings, stall_timeout_s=self._stall_timeout_s) as publisher:
            self._tell(trouble=None)
            while not self._stop.is_set():
                # One alone while it is tried again: what comes after it would be sent again each time.
                limit = BATCH_MESSAGES if self._unmatched_since is None else 1
                if batch := self._queue.head(limit=limit, max_bytes=BATCH_BYTES):
                    self._send(batch, publisher)
                    self._backoff.progress()
                else:
                    self._rest(LOOK_AGAIN_S)

    def _send(self, batch: list[QueuedMessage], publisher: Publisher) -> None:
        sent: list[tuple[QueuedMessage, Future[None]]] = []
        try:
            for queued in batch:
                sent.append((queued, _hand_over(queued, publisher)))  # noqa: PERF401  # what was sent when it raises
            publisher.wait_until_confirmed()
        finally:
            self._settle(sent)

    def _settle(self, sent: list[tuple[QueuedMessage, Future[None]]]) -> None:
        """Up to the first one that is to be tried again: those after it follow it once more, so the order holds."""
        removed: list[int] = []
        refused: list[tuple[int, str]] = []
        delivered, again = Delivered(), None
        for queued, future in sent:
            error = future.exception() if future.done() else None
            if not future.done() or self._is_tried_again(error):
                again = error
                break
            if isinstance(error, BrokerError):
                refused.append((queued.id, str(error)))
            else:
                removed.append(queued.id)
            delivered += _counted(error)
        self._queue.remove(removed)
        self._queue.set_aside(refused)
        for _, why in refused:
            get_logger().warning("message_refused", reason=why, kept_in=str(self._queue.folder))
        self._tell(delivered=delivered)
        if again is not None:
            raise again

    def _is_tried_again(self, error: BaseException | None) -> bool:
        if not isinstance(error, NoMatchingSubscribersError):
            self._unmatched_since = None
            return isinstance(error, BrokerError) and error.retryable
        self._unmatched_since = self._unmatched_since or time.monotonic()
        return time.monotonic() - self._unmatched_since < self._unmatched_for_s

    def _tell(self, *, delivered: Delivered | None = None, trouble: SensorPlatformError | None = None) -> None:
        with self._changed:
            if trouble is not None and type(trouble) is not type(self._trouble):
                get_logger().warning("outbox_waits", reason=str(trouble))
            self._trouble = trouble
            if delivered not in (None, Delivered()):
                assert delivered is not None
                self._delivered += delivered
                self._progress_at = time.monotonic()
            self._changed.notify_all()

    def _rest(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()


class _ExpiredError(Exception):
    """The message lay in the queue for longer than its own expiry."""


def _hand_over(queued: QueuedMessage, publisher: Publisher) -> Future[None]:
    message, properties = queued.message, queued.message.properties
    if properties.message_expiry_s is not None:
        left_s = properties.message_expiry_s - max(0, int(time.time() - queued.queued_at))
        if left_s <= 0:
            return _failed(_ExpiredError())
        properties = replace(properties, message_expiry_s=left_s)
    try:
        return publisher.publish(
            message.topic, message.payload, qos=message.qos, retain=message.retain, properties=properties
        )
    except MessageRefusedError as err:
        return _failed(err)


def _failed(error: Exception) -> Future[None]:
    future: Future[None] = Future()
    future.set_exception(error)
    return future


def _counted(error: BaseException | None) -> Delivered:
    match error:
        case None:
            return Delivered(confirmed=1)
        case NoMatchingSubscribersError():
            return Delivered(unmatched=1)
        case _ExpiredError():
            return Delivered(expired=1)
        case _:
            return Delivered(refused=1)
