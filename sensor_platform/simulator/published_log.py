"""What the demo published, by the number in each id: when, how often it was confirmed, what must stand for it.

Arrays, not objects: a long demo at a high rate stays small. The publishing thread appends, paho's thread counts.
"""

import re
import time
from array import array
from collections.abc import Iterable, Iterator

from sensor_platform.simulator.fleet import FleetMessage


class PublishedLog:
    """`run` is in every id: m-RUN-NUMBER."""

    def __init__(self, run: str) -> None:
        self._ident = re.compile(rb"m-%s-(\d+)" % run.encode())
        self.published_at = array("d")  # seconds since 1970, of the first time it was handed over
        self.confirmed = array("H")  # how often: a repeat has the id of what it repeats
        self.resent = array("H")  # at reconnects: the broker may have it so many times more
        self.readings = array("H")  # that the message holds
        self.timed = bytearray()  # 1: it has a time of its own, so that a repeat of it stands once
        self.good = bytearray()  # 1: nothing of it should be refused

    def __len__(self) -> int:
        return len(self.published_at)

    def noting(self, messages: Iterable[FleetMessage]) -> Iterator[tuple[str, bytes]]:
        """The messages as (topic, payload), each noted as it is handed over."""
        for message in messages:
            if message.number == len(self):
                self.published_at.append(time.time())
                self.confirmed.append(0)
                self.resent.append(0)
                self.readings.append(message.readings)
                self.timed.append(message.timed)
                self.good.append(message.good)
            yield message.topic, message.payload

    def on_confirmed(self, _topic: str, payload: bytes) -> None:
        self._count(self.confirmed, payload)

    def on_resent(self, _topic: str, payload: bytes) -> None:
        self._count(self.resent, payload)

    def number(self, payload: bytes) -> int | None:
        """The number in the id of a payload; None: it is none of ours."""
        found = self._ident.search(payload)
        return int(found[1]) if found else None

    def _count(self, counts: "array[int]", payload: bytes) -> None:
        number = self.number(payload)
        assert number is not None, "every message of the fleet carries its id"
        counts[number] += 1
