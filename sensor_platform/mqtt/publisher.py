"""Publishing with confirmation: what the simulator, replay, `publish` and the API send goes through here.

paho keeps the connection in a thread of its own and sends what is unconfirmed again after a reconnect (QoS 1: the broker
may then have it twice). Ours are the bounded window, so that memory does not grow with a slow broker; the reason codes,
which paho hands over but does not judge; and errors that say what stands in the way.
"""

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sensor_platform.errors import BrokerError, BrokerUnreachableError, NoMatchingSubscribersError
from sensor_platform.settings import Settings

NO_MATCHING_SUBSCRIBERS = 0x10
FIRST_FAILURE = 0x80
#: The session outlives a short cut, so that QoS 2 stays exactly once; a clean end removes it.
SESSION_EXPIRY_S = 300
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

    topic: str
    payload: bytes
    settle: Callable[[BrokerError | None], None]
