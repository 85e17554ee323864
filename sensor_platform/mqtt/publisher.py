"""Publishing with confirmation: what the simulator, replay, `publish` and the API send goes through here.

paho keeps the connection in a thread of its own and sends what is unconfirmed again after a reconnect (at QoS 1 the
broker may then have it twice). Ours are the bounded window, so that memory does not grow with a slow broker; the reason
codes, which paho hands over but does not judge; and errors that say what stands in the way.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import paho.mqtt.client as paho

from sensor_platform.errors import BrokerError, BrokerUnreachableError, NoMatchingSubscribersError
from sensor_platform.mqtt.message import NO_PROPERTIES, Message, MessageProperties
from sensor_platform.mqtt.publisher_link import PublisherLink
from sensor_platform.mqtt.refusals import refusal
from sensor_platform.settings import Settings

#: Sleeping less than this costs more than it evens out.
SHORTEST_PAUSE_S = 0.002

OnConfirmed = Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True)
class Published:
    """What became of published messages. `confirmed`: the broker has it, and somebody subscribes to it."""

    published: int
    confirmed: int
    unmatched: int

    @property
    def complete(self) -> bool:
        return self.confirmed == self.published


@dataclass(slots=True)
class _InFlight:
    """A message without its confirmation. `settle` is told None, or why it failed; in the network thread."""

    message: Message
    settle: Callable[[BrokerError | None], None]


class Publisher:
    """`with Publisher(settings) as publisher: publisher.publish("plant/press", b"1").result()`. Any thread may publish.

    Args:
        window: messages without a confirmation, at most; `publish` waits while there are so many.
        stall_timeout_s: how long nothing may move, a lost connection included, before it gives up.
        retry_for_s: how long the first connection is tried; later ones are tried until the stall timeout.
    """

    def __init__(
        self, settings: Settings, *, window: int = 1000, stall_timeout_s: float = 60, retry_for_s: float = 0
    ) -> None:
        self._window = window
        self._stall_timeout_s = stall_timeout_s
        self._retry_for_s = retry_for_s
        self._settings = settings.mqtt
        self._changed = threading.Condition()  # guards all below; never held while paho is called
        self._in_flight: dict[int, _InFlight] = {}
        self._early: dict[int, int] = {}  # confirmed before publish() could say under which packet id
        self._used = 0
        self._progress_at = 0.0
        self._on_resent: OnConfirmed | None = None

    def __enter__(self) -> Self:
        self._link = PublisherLink(
            self._settings, changed=self._changed, on_confirmed=self._confirmed, on_connected=self._connected
        )
        self._link.open(retry_for_s=self._retry_for_s)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.wait_until_confirmed()
        finally:
            self._link.close()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        properties: MessageProperties = NO_PROPERTIES,
    ) -> Future[None]:
        """Hands a message over. The future ends when the broker confirms it; at QoS 0, which nobody confirms, at once.

        At QoS 1 the confirmation is the PUBACK, at QoS 2 the PUBCOMP. `properties` need MQTT 5.

        Raises:
            InvalidMessageError: MQTT cannot carry it.
            MessageRefusedError: the broker said that it does not take such a message, or it has properties on 3.1.1.
            BrokerUnreachableError: the window is full and nothing is confirmed any more.
            The future raises NoMatchingSubscribersError, or BrokerError with the broker's reason.
        """
        future: Future[None] = Future()

        def settle(error: BrokerError | None) -> None:
            future.set_exception(error) if error else future.set_result(None)

        self._send(_InFlight(Message(topic, payload, qos, retain, properties), settle))
        return future

    def publish_all(
        self,
        messages: Iterable[tuple[str, bytes]],
        *,
        qos: int = 1,
        retain: bool = False,
        properties: MessageProperties = NO_PROPERTIES,
        rate: float | None = None,
        stop: threading.Event | None = None,
        on_confirmed: OnConfirmed | None = None,
        on_resent: OnConfirmed | None = None,
    ) -> Published:
        """Publishes (topic, payload) pairs in order and waits until each is confirmed.

        Args:
            messages: read no further ahead than the window allows.
            qos: 1 or 2.
            rate: messages/s at most; None: as fast as the broker confirms.
            stop: ends the reading of `messages`; what was handed over is still waited for.
            on_confirmed: told each confirmed message, in the network thread.
            on_resent: told each message that a reconnect sends again: the broker may have it twice.

        Raises:
            BrokerUnreachableError: nothing was confirmed for the stall timeout.
            BrokerError: the broker refused a message.
        """
        if qos not in (1, 2):
            raise ValueError(f"qos={qos}: publish_all waits for confirmations, which QoS 0 does not have")
        tally = _Tally(on_confirmed)
        self._on_resent = on_resent
        for topic, payload in _paced(messages, rate, stop or threading.Event()):
            message = Message(topic, payload, qos, retain, properties)
            tally.published += 1
            self._send(_InFlight(message, tally.settler(topic, payload)))
            tally.raise_refusal()
        self.wait_until_confirmed()
        tally.raise_refusal()
        return Published(tally.published, tally.confirmed, tally.unmatched)

    def _send(self, each: _InFlight) -> None:
        qos = each.message.qos
        self._take_slot()
        try:
            info = self._link.send(each.message)
        except BaseException:
            self._free_slot()
            raise
        if info.rc == paho.MQTT_ERR_QUEUE_SIZE or (qos == 0 and info.rc != paho.MQTT_ERR_SUCCESS):
            self._free_slot()
            raise BrokerUnreachableError(f"broker {self._link.to}: the message could not be sent ({info.rc.name})")
        with self._changed:
            code = self._early.pop(info.mid, None)
            if code is None and qos > 0:
                self._in_flight[info.mid] = each
                return
        self._settle(each, code or 0)

    def _take_slot(self) -> None:
        with self._changed:
            # Not while disconnected: paho could put the PUBLISH before the CONNECT.
            self._wait_until(lambda: self._link.is_connected and self._used < self._window)
            self._used += 1

    def _free_slot(self) -> None:
        with self._changed:
            self._used -= 1
            self._progress_at = time.monotonic()
            self._changed.notify_all()

    def wait_until_confirmed(self) -> None:
        """Returns when every future has ended. Raises BrokerUnreachableError after the stall timeout."""
        with self._changed:
            self._wait_until(lambda: self._used == 0)

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits as long as something moves."""
        began = time.monotonic()
        while not condition():
            left_s = max(self._progress_at, began) + self._stall_timeout_s - time.monotonic()
            if left_s <= 0:
                reason = f" ({self._link.trouble})" if self._link.trouble else ""
                raise BrokerUnreachableError(
                    f"broker {self._link.to}: nothing was confirmed for {self._stall_timeout_s:g} s, "
                    f"{self._used} messages are unconfirmed{reason}"
                )
            self._changed.wait(left_s)

    def _settle(self, each: _InFlight, code: int) -> None:
        """The slot is free only after the caller was told: who waits for all finds everything told."""
        each.settle(refusal(each.message.topic, code))
        self._free_slot()

    # Called by the link, in paho's thread.

    def _confirmed(self, packet_id: int, code: int) -> None:
        with self._changed:
            each = self._in_flight.pop(packet_id, None)
            if each is None:
                self._early[packet_id] = code
                return
        self._settle(each, code)

    def _connected(self) -> None:
        with self._changed:
            again = [each.message for each in self._in_flight.values()] if self._on_resent else []
        for message in again:
            assert self._on_resent is not None
            self._on_resent(message.topic, message.payload)


class _Tally:
    """Counts of one publish_all. Only the network thread writes confirmed and unmatched."""

    def __init__(self, on_confirmed: OnConfirmed | None) -> None:
        self.published = self.confirmed = self.unmatched = 0
        self._on_confirmed = on_confirmed
        self._refusal: BrokerError | None = None

    def settler(self, topic: str, payload: bytes) -> Callable[[BrokerError | None], None]:
        def settle(error: BrokerError | None) -> None:
            if error is None:
                self.confirmed += 1
                if self._on_confirmed:
                    self._on_confirmed(topic, payload)
            elif isinstance(error, NoMatchingSubscribersError):
                self.unmatched += 1
            else:
                self._refusal = self._refusal or error

        return settle

    def raise_refusal(self) -> None:
        if self._refusal:
            raise self._refusal


def _paced(
    messages: Iterable[tuple[str, bytes]], rate: float | None, stop: threading.Event
) -> Iterator[tuple[str, bytes]]:
    """The messages no faster than `rate`. Each is asked for when it is due, so that its own time is right."""
    due = time.monotonic()
    remaining = iter(messages)
    while not stop.is_set():
        if rate:
            ahead_s = due - time.monotonic()
            if ahead_s > SHORTEST_PAUSE_S and stop.wait(ahead_s):
                return
            # What a slow second missed is not made good with a burst.
            due = max(due, time.monotonic() - 1) + 1 / rate
        try:
            yield next(remaining)
        except StopIteration:
            return
