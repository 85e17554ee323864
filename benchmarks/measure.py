"""One run of a case: the seconds until the subscriber has all messages, and the CPU time that it took for them.

Feed and subscriber are processes of their own. Everybody says that all is received, or ends: that is when the clock
stops, so no start or end of an interpreter is measured.
"""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.brokers import TlsBroker
from benchmarks.cases import NOBODY, Case
from benchmarks.processes import LIMIT_S, Process, feed, go, next_line
from benchmarks.publisher import TOPIC
from benchmarks.subscribers import Place, Subscriber, subscriber
from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.embedded.ports import any_free_port


@dataclass(frozen=True, slots=True)
class Run:
    """What one subscriber did once."""

    messages_per_s: float
    cpu_us_per_message: float | None  # None: nobody subscribed


def run(case: Case, folder: Path) -> Run:
    """In an empty folder."""
    if case.part == "alone":
        return _alone(case, folder)
    kind = TlsBroker if case.part == "tls" else EmbeddedBroker
    with kind(folder, any_free_port()) as broker, publisher(broker, case) as feeding:
        if case.subscriber == NOBODY:
            next_line(feeding.stdout, "ready")
            go(feeding)
            return Run(case.messages / float(next_line(feeding.stdout)), None)
        return _beside(case, folder, broker, feeding)


def publisher(broker: EmbeddedBroker, case: Case, *, rate: float = float("inf")) -> Process:
    """Ready to publish the messages of the case."""
    login = (str(broker.port), broker.username, broker.password)
    return feed("publisher", *login, str(case.messages), str(case.payload_bytes), str(rate))


def wait_until_subscribed(broker: EmbeddedBroker, subscribing: Subscriber) -> None:
    """Publishes until somebody gets it, which is one message. MQTT 5 says in the PUBACK whether anybody subscribes."""
    matched: list[bool] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.username_pw_set(broker.username, broker.password)
    client.on_publish = lambda _client, _data, _mid, reason, _properties: matched.append(reason.value == 0)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    until_s = time.monotonic() + LIMIT_S
    while not any(matched):
        subscribing.check()
        if time.monotonic() > until_s:
            raise TimeoutError("nobody subscribed")
        client.publish(TOPIC, b"{}", qos=1).wait_for_publish(LIMIT_S)
        time.sleep(0.02)
    client.disconnect()
    client.loop_stop()


def _beside(case: Case, folder: Path, broker: EmbeddedBroker, feeding: subprocess.Popen[str]) -> Run:
    port, ca = (broker.tls_port, broker.ca) if isinstance(broker, TlsBroker) else (broker.port, None)
    place = Place(port, folder, broker.username, broker.password, ca)
    with subscriber(case, place, messages=case.messages + 1) as subscribing:
        wait_until_subscribed(broker, subscribing)
        next_line(feeding.stdout, "ready")
        return _measured(case, subscribing, feeding)


def _alone(case: Case, folder: Path) -> Run:
    """A broker that only sends."""
    with feed("sender", str(case.messages), str(case.payload_bytes)) as feeding:
        place = Place(int(next_line(feeding.stdout)), folder)
        with subscriber(case, place, messages=case.messages) as subscribing:
            next_line(feeding.stdout, "ready")
            return _measured(case, subscribing, feeding)


def _measured(case: Case, subscribing: Subscriber, feeding: subprocess.Popen[str]) -> Run:
    cpu_before_s, began_s = subscribing.cpu_s(), time.monotonic()
    go(feeding)
    subscribing.wait()
    took_s, cpu_took_s = time.monotonic() - began_s, subscribing.cpu_s() - cpu_before_s
    subscribing.check()
    return Run(case.messages / took_s, cpu_took_s / case.messages * 1e6)
