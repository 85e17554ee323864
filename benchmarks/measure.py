"""One run: a subscriber, something that feeds it, the seconds until it has all, and the CPU time that it took for it.

Feed and subscriber are processes of their own. Everybody says on stderr that all is received, or ends: that is when
the clock stops, so no start or end of an interpreter is measured.
"""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.processes import LIMIT_S, Process, cpu_s, feed, go, next_line, process
from benchmarks.publisher import TOPIC
from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.embedded.ports import any_free_port

SUBSCRIBERS = ("collector", "mosquitto_sub", "paho_grouped", "paho_each")
PROTOCOLS = ("3.1.1", "5")


@dataclass(frozen=True, slots=True)
class Run:
    """What one subscriber did once."""

    messages_per_s: float
    cpu_us_per_message: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a subscriber subscribes and writes."""

    port: int
    protocol: str
    folder: Path
    username: str = "nobody"
    password: str = "none"


def publisher_alone(folder: Path, messages: int) -> float:
    """Messages/s that the broker confirms while nobody subscribes: no subscriber can show more."""
    with EmbeddedBroker(folder, any_free_port()) as broker, _publisher(broker, messages) as feeding:
        next_line(feeding.stdout, "ready")
        go(feeding)
        return messages / float(next_line(feeding.stdout))


def beside_broker(subscriber: str, folder: Path, protocol: str, messages: int) -> Run:
    """A fresh broker, one subscriber, one publisher."""
    with EmbeddedBroker(folder, any_free_port()) as broker:
        where = Place(broker.port, protocol, folder, broker.username, broker.password)
        with _subscriber(subscriber, where, messages + 1) as subscribing, _publisher(broker, messages) as feeding:
            _wait_until_subscribed(where)  # its one message is the one more that the subscriber waits for
            next_line(feeding.stdout, "ready")
            return _measured(subscribing, feeding, messages)


def collector_alone(folder: Path, protocol: str, messages: int) -> Run:
    """The collector and a broker that only sends."""
    with feed("sender", str(messages)) as feeding:
        where = Place(int(next_line(feeding.stdout)), protocol, folder)
        with _subscriber("collector", where, messages) as subscribing:
            next_line(feeding.stdout, "ready")
            return _measured(subscribing, feeding, messages)


def _measured(subscribing: subprocess.Popen[str], feeding: subprocess.Popen[str], messages: int) -> Run:
    cpu_before_s, began_s = cpu_s(subscribing), time.monotonic()
    go(feeding)
    last_word = next_line(subscribing.stderr, "done", "")
    took_s, cpu_took_s = time.monotonic() - began_s, cpu_s(subscribing) - cpu_before_s
    if not last_word and subscribing.wait(LIMIT_S):  # mosquitto_sub ends without a word
        raise RuntimeError(f"{subscribing.args!r} ended with {subscribing.returncode}")
    return Run(messages / took_s, cpu_took_s / messages * 1e6)


def _subscriber(name: str, place: Place, messages: int) -> Process:
    match name:
        case "collector":
            command = ["-m", "benchmarks.collector_process", str(messages)]
        case "mosquitto_sub":
            version = "mqttv5" if place.protocol == "5" else "mqttv311"
            login = f"-h 127.0.0.1 -p {place.port} -u {place.username} -P {place.password}"
            return process(f"mosquitto_sub {login} -V {version} -q 1 -C {messages} -t {TOPIC}".split(), says="stderr")
        case _:
            login = f"{place.port} {place.username} {place.password}"
            options = f"{login} {place.protocol} {TOPIC} {messages}".split()
            command = ["-m", f"benchmarks.baselines.{name}", *options, str(place.folder / "received")]
    return process([sys.executable, *command], says="stderr", environment=_settings(place))


def _settings(place: Place) -> dict[str, str]:
    routes = place.folder / "routes.yaml"
    topic = "factory/{work_unit}/sensors/{sensor}/data"
    routes.write_text(f"routes:\n  - name: benchmark\n    filter: {topic}\n    format: json\n", encoding="utf-8")
    return {
        "MQTT_BROKER_URL": f"mqtt://127.0.0.1:{place.port}",
        "MQTT_USERNAME": place.username,
        "MQTT_PASSWORD": place.password,
        "MQTT_PROTOCOL": place.protocol,
        "SENSOR_PLATFORM_HOME": str(place.folder / "home"),
        "SENSOR_PLATFORM_ROUTES": str(routes),
    }


def _wait_until_subscribed(place: Place) -> None:
    """MQTT 5 says in the PUBACK whether anybody subscribes."""
    matched: list[bool] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.username_pw_set(place.username, place.password)
    client.on_publish = lambda _client, _data, _mid, reason, _properties: matched.append(reason.value == 0)
    client.connect("127.0.0.1", place.port)
    client.loop_start()
    until_s = time.monotonic() + LIMIT_S
    while not any(matched):
        if time.monotonic() > until_s:
            raise TimeoutError("nobody subscribed")
        client.publish(TOPIC, b"{}", qos=1).wait_for_publish(LIMIT_S)
        time.sleep(0.02)
    client.disconnect()
    client.loop_stop()


def _publisher(broker: EmbeddedBroker, messages: int) -> Process:
    return feed("publisher", str(broker.port), broker.username, broker.password, str(messages))
