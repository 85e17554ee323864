"""Whether the collector is there, told at the broker: a retained birth message, a farewell, a last will for the rest.

Never in the way of collecting: a broker that does not let us publish there, or ends connections for it, is asked less
and less and then no more; a topic that we subscribe to ourselves is not used: each word would come back as a message.
"""

import json
import os
import re
import socket
from collections.abc import Iterable
from datetime import UTC, datetime

from paho.mqtt.client import Client
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sensor_platform.errors import BrokerError, CredentialsRefusedError
from sensor_platform.mqtt.findings import Finding
from sensor_platform.mqtt.subscriptions import without_group
from sensor_platform.routes.filters import overlaps, parse_filter
from sensor_platform.settings import OFF

#: Of so many connections in a row that end before the birth message is confirmed, the last goes without it.
TRIES = 3


class Presence:
    """Outlives connections; the collector's thread calls everything. A topic that is `off` is none."""

    def __init__(self, topic: str, *, collector: str, client_id: str) -> None:
        name = re.sub(r"[+#/\0]", "_", client_id)
        self.topic = topic.format(collector=collector, client_id=name) if topic != OFF else None
        self.finding: Finding | None = None
        self._who = {"collector": collector, "client_id": client_id, "host": socket.gethostname(), "pid": os.getpid()}
        self._in_vain = 0
        self._given_up = False
        self._wanted = self._used = self._announced = self._confirmed = False

    def attach(self, client: Client, wanted: Iterable[str]) -> None:
        """Before CONNECT: the will, unless there is a reason to go without."""
        self._announced = self._confirmed = False
        self._wanted = self.topic is not None and not self._clashes(wanted)
        self._used = self._wanted and not self._should_go_without()
        if self._used and self.topic is not None:
            client.will_set(self.topic, self._says("offline", "the connection was lost"), qos=1, retain=True)
            client.on_publish = self._answered

    def announce(self, client: Client) -> None:
        """After CONNACK."""
        if self._used and self.topic is not None:
            self._announced = True
            client.publish(self.topic, self._says("online"), qos=1, retain=True)
        elif self._wanted and not self._given_up:
            self._given_up = True
            self._complain("the broker ended connections that had it as last will")

    def farewell(self, client: Client, reason: str) -> None:
        """Before DISCONNECT, which takes the will back. At QoS 0: nobody waits for the answer."""
        if self._used and self.topic is not None:
            client.publish(self.topic, self._says("offline", reason), qos=0, retain=True)

    def ended(self, err: BrokerError) -> None:
        """What the end of a connection says of our being welcome."""
        if self._confirmed or not self._wanted:
            self._in_vain = 0
        elif self._announced or isinstance(err, CredentialsRefusedError) or err.kind == "refused":
            self._in_vain += 1

    def _should_go_without(self) -> bool:
        return self._given_up or self._in_vain % TRIES == TRIES - 1

    def _clashes(self, wanted: Iterable[str]) -> bool:
        assert self.topic is not None
        own = parse_filter(self.topic)
        for name in wanted:
            if overlaps(parse_filter(without_group(name)), own):
                self._complain(f"we subscribe to {name}, so that each word there would be staged as a message")
                return True
        return False

    def _answered(self, client: Client, userdata: object, mid: int, reason: ReasonCode, properties: Properties) -> None:
        self._confirmed = True
        if reason.is_failure:
            self._complain(f"the broker says: {reason}")
        else:
            self.finding = None

    def _complain(self, why: str) -> None:
        self.finding = Finding(
            "status_topic_unused",
            f"nothing is told on MQTT_STATUS_TOPIC={self.topic}: {why}. Name another topic, let the broker's rules "
            "allow it, or set it to `off`.",
        )

    def _says(self, state: str, reason: str | None = None) -> bytes:
        at = {} if reason == "the connection was lost" else {"at": datetime.now(UTC).isoformat()}
        return json.dumps({"state": state, "reason": reason, **self._who, **at}).encode()
