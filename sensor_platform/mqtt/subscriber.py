"""Keeps the subscriptions of the broker's session as they are wanted, while messages flow.

One step at a time, and never one that opens a gap: first SUBSCRIBE to what is new, and when that was granted
UNSUBSCRIBE from what is not wanted any more. The disk knows of each before it leaves, so that a later process takes
back what nobody wants, and asks again for what it may have left. On 3.1.1 each SUBSCRIBE brings the retained messages
again, so nothing is subscribed to that the session surely has; on MQTT 5 Retain Handling 1 says the same to the broker,
and asking again mends. Shared subscriptions bring no retained messages: they are asked for on each connection.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from paho.mqtt.reasoncodes import ReasonCode

from sensor_platform.errors import BrokerBusyError, BrokerError, SubscriptionRefusedError
from sensor_platform.log import get_logger
from sensor_platform.mqtt.connection import Protocol
from sensor_platform.mqtt.session import Session
from sensor_platform.mqtt.subscriptions import SHARE, KeptSubscriptions, Told, without_group
from sensor_platform.routes.filters import overlaps, parse_filter

#: In one packet; some brokers bound it.
MOST_FILTERS = 200
QUOTA_EXCEEDED = "Quota exceeded"  # paho's name of 0x97
NO_PROMISE = "at QoS 0 only: no promise"


@dataclass(frozen=True, slots=True)
class Standing:
    """A filter as told to the broker, and what it said: pending, granted or refused."""

    filter: str
    state: str
    detail: str | None = None


class Subscriber:
    """For one connection; the collector's thread calls everything."""

    def __init__(self, session: Session, kept: KeptSubscriptions, *, ask_again_s: float) -> None:
        self._session = session
        self._kept = kept
        self._ask_again_s = ask_again_s
        self._told = kept.read()
        self._answered: set[str] = set() if session.protocol is Protocol.V5 else set(_unshared(self._told.sure))
        self._refused: dict[str, str] = {}
        self._weak: set[str] = set()
        self._asked_at_s = 0.0
        self._in_flight = False
        self._leaving = False
        self._settled: tuple[str, ...] | None = None
        self.standing: tuple[Standing, ...] = ()

    def turn(self, wanted: tuple[str, ...]) -> None:
        """Sends the next packet that brings the session closer to `wanted`; nothing while an answer is awaited."""
        if self._in_flight or (wanted is self._settled and not self._should_ask_again()):
            return
        if self._should_ask_again():
            self._answered -= set(self._refused)
        self._settled = None
        if new := [name for name in wanted if name not in self._answered][:MOST_FILTERS]:
            self._subscribe(new, wanted)
        elif old := self._not_wanted(wanted)[:MOST_FILTERS]:
            self._unsubscribe(old, wanted)
        else:
            self._settled = wanted
            self._say(wanted)

    def _should_ask_again(self) -> bool:
        """The broker's access rules may have been mended meanwhile."""
        return bool(self._refused) and time.monotonic() - self._asked_at_s > self._ask_again_s

    def unsubscribe_all(self, wanted: tuple[str, ...]) -> Callable[[], bool]:
        """Leaves `wanted` and all that the session was told; what is returned says whether the broker has answered."""
        self._in_flight, self._leaving, self.standing = True, True, ()
        # Whatever becomes of us now, the next process must subscribe again.
        self._keep(Told(asked=self._told.granted | self._told.asked | set(wanted)))
        answers: list[list[ReasonCode]] = []
        self._session.unsubscribe(sorted(self._told.asked), on_answer=answers.append)
        return lambda: bool(answers)

    def forget(self) -> None:
        """The session has ended."""
        self._kept.forget()

    @property
    def settled(self) -> bool:
        """Whether the broker has answered for all that is wanted."""
        return self._settled is not None

    @property
    def refusal(self) -> BrokerError | None:
        """Stands while a filter is refused: the messages of the others come all the same."""
        if not self._refused:
            return None
        no = ", ".join(f"{name} ({reason})" for name, reason in sorted(self._refused.items()))
        if set(self._refused.values()) == {QUOTA_EXCEEDED}:
            return BrokerBusyError(f"broker {self._session.endpoint}: no room for the subscription to {no}.")
        return SubscriptionRefusedError(
            f"broker {self._session.endpoint}: refused to let us subscribe to {no}. Check its access rules."
        )

    def _subscribe(self, names: list[str], wanted: tuple[str, ...]) -> None:
        self._asked_at_s = time.monotonic()
        self._keep(Told(self._told.granted, self._told.asked | (set(names) - self._told.granted)))
        self._send(self._session.subscribe, names, partial(self._subscribed, names, wanted))
        self._say(wanted)

    def _unsubscribe(self, names: list[str], wanted: tuple[str, ...]) -> None:
        self._keep(Told(self._told.granted, self._told.asked | set(names)))
        self._send(self._session.unsubscribe, names, partial(self._unsubscribed, names, wanted))

    def _send(self, how: Callable[..., None], names: list[str], on_answer: Callable[[list[ReasonCode]], None]) -> None:
        self._in_flight = True
        how(names, on_answer=on_answer)

    def _subscribed(self, names: list[str], wanted: tuple[str, ...], reasons: list[ReasonCode]) -> None:
        if self._leaving:
            return  # an answer that comes after we have taken it back
        self._in_flight = False
        granted = {name for name, reason in zip(names, reasons, strict=False) if not reason.is_failure}
        said = {name: str(reason) for name, reason in zip(names, reasons, strict=False) if reason.is_failure}
        refused = {name: said.get(name, "no answer") for name in names if name not in granted}
        weak = {name for name, reason in zip(names, reasons, strict=False) if reason.value == 0}
        if weak - self._weak:
            get_logger().warning("only_qos_0_granted", filters=sorted(weak - self._weak))
        if new := granted - self._told.granted:
            get_logger().info("subscribed", filters=sorted(new))
        self._weak = (self._weak - granted) | weak
        self._refused = {name: why for name, why in self._refused.items() if name not in granted} | refused
        self._answered |= set(names)
        # A subscription of before that is refused now may stand all the same: it stays in `asked`.
        keeps = self._told.granted - set(refused) | granted
        self._keep(Told(keeps, (self._told.asked | (self._told.granted & set(refused))) - granted))
        self._say(wanted)

    def _unsubscribed(self, names: list[str], wanted: tuple[str, ...], reasons: list[ReasonCode]) -> None:
        self._in_flight = False
        get_logger().info("unsubscribed", filters=names)
        self._answered -= set(names)
        self._weak -= set(names)
        self._keep(Told(self._told.granted - set(names), self._told.asked - set(names)))
        self._say(wanted)

    def _not_wanted(self, wanted: tuple[str, ...]) -> list[str]:
        """But what shares topics with a wanted filter that was refused stays: leaving it would open a gap."""
        self._refused = {name: why for name, why in self._refused.items() if name in wanted}
        gaps = [parse_filter(without_group(name)) for name in self._refused]
        old = (self._told.granted | self._told.asked) - set(wanted)
        return sorted(n for n in old if not any(overlaps(parse_filter(without_group(n)), gap) for gap in gaps))

    def _keep(self, told: Told) -> None:
        if told != self._told:
            self._kept.write(told)
            self._told = told

    def _say(self, wanted: Iterable[str]) -> None:
        self.standing = tuple(self._standing(name) for name in sorted({*wanted, *self._told.granted}))

    def _standing(self, name: str) -> Standing:
        if name in self._refused:
            return Standing(name, "refused", self._refused[name])
        if name in self._told.granted:
            return Standing(name, "granted", NO_PROMISE if name in self._weak else None)
        return Standing(name, "pending")


def _unshared(names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if not name.startswith(SHARE))
