"""The live stream, from a published message to a client; and a client that does not read."""

import json
import os
import signal
import subprocess
import sys
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from sensor_platform.embedded.secrets import secret_file
from sensor_platform.live.hub import FRAME_READINGS, QUEUE_READINGS, LiveReading
from sensor_platform.settings import Settings
from sensor_platform_tests.api.served import TOKEN, Served
from sensor_platform_tests.waiting import wait_until


def publish(served: Served, sensor: str, payload: Any) -> None:
    send(served, sensor, json.dumps(payload))


def send(served: Served, sensor: str, payload: str) -> None:
    body = {"topic": f"factory/live/sensors/{sensor}/data", "payload": payload}
    assert served.http.post("/api/mqtt/publish", json=body).status_code == 201


def readings(socket: ClientConnection) -> list[dict[str, Any]]:
    message = json.loads(socket.recv(10))
    assert message["type"] == "readings", message
    found: list[dict[str, Any]] = message["readings"]
    return found


def test_a_published_message_arrives_at_who_subscribed_to_its_channel(served: Served) -> None:
    payload = {"timestamp": "2026-03-01T12:00:00Z", "metric": "t", "value": 21.5, "unit": "C"}
    with served.socket("live/a") as one, served.socket("live/+") as every, served.socket("other/#") as other:
        publish(served, "a", payload)
        expected = {
            "channel": "live/a",
            "work_unit": "live",
            "sensor": "a",
            "metric": "t",
            "time": "2026-03-01T12:00:00+00:00",
            "value": 21.5,
            "text": None,
            "unit": "C",
            "quality": "good",
        }
        assert readings(one) == [expected]
        assert readings(every) == [expected]
        publish(served, "b", payload)
        assert [r["channel"] for r in readings(every)] == ["live/b"]
        with pytest.raises(TimeoutError):
            other.recv(0)
        other.send('{"subscribe": ["live/c"]}')
        assert json.loads(other.recv(5))["type"] == "subscribed"
        publish(served, "c", payload)
        assert [r["channel"] for r in readings(other)] == ["live/c"]


def test_rubbish_does_not_stop_the_stream(served: Served) -> None:
    with served.socket("live/#") as socket:
        for rubbish in ("{", '"\\u0000"', '{"value": 1e999}', "[" * 100_000, "", '{"value": null}'):
            send(served, "a", rubbish)
        publish(served, "a", {"value": 7})
        assert [r["value"] for r in readings(socket)] == [7.0]
    health = served.http.get("/api/mqtt").json()["live"]
    assert (health["connected"], health["readings"], health["refused"], health["shed"]) == (True, 1, 6, 0)


def test_nobody_watches_nothing_is_subscribed(served: Served) -> None:
    body = {"topic": "factory/unwatched/sensors/a/data", "payload": "{}"}
    with served.socket("#"):
        assert served.http.post("/api/mqtt/publish", json=body).status_code == 201
    wait_until(lambda: not served.context.bridge.health.subscribed, what="not subscribed any more")
    assert served.http.post("/api/mqtt/publish", json=body).status_code == 409


@pytest.mark.parametrize(
    "sent", ["[]", "hello", '{"subscribe": "a"}', '{"subscribe": [1]}', '{"subscribe": ["a/#/b"]}']
)
def test_what_is_not_understood_closes_the_connection_with_a_reason(served: Served, sent: str) -> None:
    with served.socket() as socket:
        socket.send(sent)
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(5)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 4400
    assert caught.value.rcvd.reason


def test_a_client_that_does_not_read_is_told_what_it_lost_and_holds_up_nobody(served: Served) -> None:
    size, total = 2_000, 40 * FRAME_READINGS  # 40 MB in all: far more than sockets and queues hold
    hub = served.context.hub
    with served.socket("x", max_queue=1, compression=None) as slow, served.socket("x", compression=None) as fast:
        loop = served.context.bridge._publish.args[0]  # type: ignore[attr-defined]
        for first in range(0, total, FRAME_READINGS):
            numbers = range(first, first + FRAME_READINGS)
            group = [LiveReading("x", json.dumps({"n": n, "pad": "." * size}).encode()) for n in numbers]
            loop.call_soon_threadsafe(hub.publish, group)
            assert [r["n"] for r in readings(fast)] == list(numbers)
        seen: list[int] = []
        dropped = 0
        while not seen or seen[-1] != total - 1:
            message = json.loads(slow.recv(10))
            dropped += message.get("count", 0)
            seen += [r["n"] for r in message.get("readings", [])]
    assert dropped > 0
    assert len(seen) + dropped == total
    assert seen == sorted(seen)
    assert seen[-QUEUE_READINGS:] == list(range(total - QUEUE_READINGS, total))


@pytest.mark.slow
def test_sigterm_ends_the_process_at_once_with_a_socket_open(settings: Settings) -> None:
    assert settings.database_url is not None
    assert settings.mqtt.password is not None
    environ = {
        **os.environ,
        "SENSOR_PLATFORM_HOME": str(settings.home),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "MQTT_BROKER_URL": str(settings.mqtt.broker_url),
        "MQTT_USERNAME": str(settings.mqtt.username),
        "MQTT_PASSWORD": settings.mqtt.password.get_secret_value(),
        "API_PORT": str(settings.api.port),
    }
    command = [sys.executable, "-m", "sensor_platform.api"]
    with subprocess.Popen(command, env=environ, cwd=settings.home, stderr=subprocess.PIPE, text=True) as process:
        url = f"127.0.0.1:{settings.api.port}"

        def answers() -> bool:
            assert process.poll() is None, process.communicate()
            try:
                return httpx.get(f"http://{url}/", trust_env=False).is_success
            except httpx.TransportError:
                return False

        wait_until(answers, what="the API to answer", timeout_s=90)
        token = secret_file(settings.home, "api_token").read_text()
        assert token != TOKEN
        with connect(f"ws://{url}/ws", additional_headers={"Authorization": f"Bearer {token}"}, proxy=None) as socket:
            socket.send('{"subscribe": ["#"]}')
            socket.recv(5)
            process.send_signal(signal.SIGTERM)
            # Half a second where there is a core to run on; without an end of the grace it would wait for the client.
            assert process.wait(20) == 0
            with pytest.raises(ConnectionClosed) as caught:
                socket.recv(5)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1012
