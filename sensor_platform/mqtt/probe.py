"""A look at the broker's `$SYS` topics now and then, through a small connection of its own.

Not through the collector's: what arrives there is staged, and its session would keep the counters while we are away. A
broker that shows nothing, or refuses us, costs a connection each interval and is no error.
"""

import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sensor_platform.errors import SensorPlatformError
from sensor_platform.log import get_logger
from sensor_platform.mqtt.broker_facts import SYS_TOPICS
from sensor_platform.mqtt.connection import Protocol, connect, new_client
from sensor_platform.settings import MqttSettings

ANSWER_S = 3.0
LOOP_S = 0.2


class BrokerProbe:
    """A thread that looks when it is first asked to, and then each interval. `found` is replaced, never changed."""

    def __init__(self, settings: MqttSettings, *, on_found: Callable[[], None]) -> None:
        self.found: dict[str, Any] = {}
        self._settings = settings
        self._on_found = on_found
        self._protocol: Protocol | None = None
        self._asked = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="broker-probe", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self, protocol: Protocol) -> None:
        """The collector is connected: there is something to look at."""
        self._protocol = protocol
        self._asked.set()

    def stop(self) -> None:
        self._stop.set()
        self._asked.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2 * LOOP_S)

    def _run(self) -> None:
        self._asked.wait()
        while not self._stop.is_set() and self._protocol is not None:
            try:
                self._tell(self._look(self._protocol))
            except SensorPlatformError:
                pass  # the collector's own connection tells what stands in the way
            except Exception:  # noqa: BLE001  the top of a thread: whatever it is, the next look tries again
                get_logger().exception("broker_check_failed")
            self._stop.wait(self._settings.broker_check_interval_s)

    def _tell(self, found: dict[str, Any]) -> None:
        if found and found != self.found and not self._stop.is_set():
            self.found = found
            self._on_found()

    def _look(self, protocol: Protocol) -> dict[str, Any]:
        """What is retained there now. Raises what connecting raises."""
        found: dict[str, Any] = {}
        client = new_client(
            self._settings,
            client_id=f"sensor-platform-probe-{secrets.token_hex(6)}",
            protocol=protocol,
            kind=Client,
        )

        def on_connect(
            client: Client, userdata: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
        ) -> None:
            if not reason.is_failure:
                client.subscribe([(topic, 0) for topic in SYS_TOPICS])

        def on_message(client: Client, userdata: Any, message: MQTTMessage) -> None:
            if (name := SYS_TOPICS.get(message.topic)) is not None:
                found[name] = _value(message.payload)

        client.on_connect, client.on_message = on_connect, on_message
        connect(client, self._settings)
        until_s = time.monotonic() + ANSWER_S
        while len(found) < len(SYS_TOPICS) and time.monotonic() < until_s and not self._stop.is_set():
            if client.loop(LOOP_S) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                break
        client.disconnect()
        return found


def _value(payload: bytes | bytearray) -> int | str:
    text = payload.decode("utf-8", "replace")[:200]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text
