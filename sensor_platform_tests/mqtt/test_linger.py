"""A group waits for company, but not for what the broker will not send before we acknowledge."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sensor_platform.embedded.broker import find_mosquitto
from sensor_platform.mqtt.intake import Intake
from sensor_platform.mqtt.linger import Linger
from sensor_platform.mqtt.session import Session
from sensor_platform_tests.conftest import free_port
from sensor_platform_tests.mqtt.collecting import collecting, make_settings, originals, publish, publisher
from sensor_platform_tests.mqtt.packets import publish as packet
from sensor_platform_tests.mqtt.sending_broker import sending_broker
from sensor_platform_tests.mqtt.test_collector import is_collecting
from sensor_platform_tests.waiting import wait_until

LINGER_S = 0.005


def waits(windows: list[int]) -> int:
    """How many groups wait to the end, where so many messages come at once, and no more before they are staged."""
    linger, now_s, waited = Linger(LINGER_S), 0.0, 0
    for window in windows:
        now_s += 0.0005  # the fsync of the group before
        if not linger.is_over(window, now_s):
            waited += 1
            now_s += LINGER_S
            assert linger.is_over(window, now_s)
        linger.staged()
    return waited


def test_few_messages_wait_for_company_as_long_as_they_may() -> None:
    linger = Linger(LINGER_S)
    assert not linger.is_over(1, 10.0)
    assert linger.left_s(10.001) == pytest.approx(0.004)
    assert not linger.is_over(3, 10.0049)
    assert linger.is_over(3, 10.006)
    linger.staged()
    assert linger.left_s(10.007) is None
    assert not linger.is_over(4, 10.007)


@pytest.mark.parametrize("window", [200, 1000])
def test_a_large_group_never_waits(window: int) -> None:
    assert waits([window] * 1000) == 0


@pytest.mark.parametrize("window", [1, 7, 20, 199])
def test_a_smaller_window_is_learned(window: int) -> None:
    assert 2 <= waits([window] * 1000) <= 4


def test_what_was_learned_is_forgotten_with_the_connection_and_with_time() -> None:
    linger = Linger(LINGER_S)
    for now_s in (1.0, 2.0):
        linger.is_over(5, now_s)
        assert linger.is_over(5, now_s + LINGER_S)
        linger.staged()
    assert linger.is_over(5, 2.1)
    linger.staged()
    assert not linger.is_over(5, 3.0)
    linger.begin()
    assert not linger.is_over(5, 3.1)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class StockBroker:
    """mosquitto that allows 20 messages in flight, as it does without a word in its configuration."""

    username: str | None = None
    password = ""
    host = "127.0.0.1"

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"mqtt://127.0.0.1:{port}"


@pytest.fixture
def stock_broker(tmp_path: Path) -> Iterator[StockBroker]:
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed")
    broker = StockBroker(free_port())
    configuration = tmp_path / "stock.conf"
    configuration.write_text(
        f"listener {broker.port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 20\nmax_queued_messages 0\n"
    )
    with subprocess.Popen([program, "-c", configuration], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _listens(broker.port), "the broker")
            yield broker
        finally:
            process.terminate()


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of messages in each group that was staged."""
    found: list[int] = []
    stage = Intake._stage

    def counted(self: Intake, session: Session) -> Any:
        if session.arrived:
            found.append(len(session.arrived))
        return stage(self, session)

    monkeypatch.setattr(Intake, "_stage", counted)
    return found


@pytest.fixture
def in_vain(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of messages in each group that waited to the end."""
    found: list[int] = []
    learn = Linger._learn

    def counted(self: Linger, waiting: int, now_s: float) -> None:
        found.append(waiting)
        learn(self, waiting, now_s)

    monkeypatch.setattr(Linger, "_learn", counted)
    return found


@pytest.mark.parametrize(("protocol", "window"), [("3.1.1", 20), ("5", 20), ("5", 6)])
def test_a_broker_that_keeps_to_its_window_is_not_kept_waiting(
    home: Path, groups: list[int], in_vain: list[int], protocol: str, window: int
) -> None:
    no_properties = b"" if protocol == "5" else None
    frames = [packet(b"w/a/b", b"%d" % n, packet_id=n + 1, properties=no_properties) for n in range(3000)]
    with sending_broker(frames, window=window) as broker:
        settings = make_settings(broker, home, "w", protocol=protocol, linger_ms=500, keep_alive_s=120)
        with collecting(settings) as collector:
            wait_until(lambda: collector.health.messages == 3000, "all messages", 90)
    assert originals(settings) == [b"%d" % n for n in range(3000)]
    assert max(groups) == window
    assert len(groups) >= 3000 / window
    assert len(in_vain) <= 10


@pytest.mark.parametrize(("protocol", "receive_maximum"), [("3.1.1", 20_000), ("5", 20)])
def test_thousands_flow_from_a_stock_mosquitto(
    stock_broker: StockBroker, home: Path, in_vain: list[int], protocol: str, receive_maximum: int
) -> None:
    mqtt = {"protocol": protocol, "receive_maximum": receive_maximum, "linger_ms": 500}
    settings = make_settings(stock_broker, home, "window", **mqtt)
    with collecting(settings) as collector, publisher(stock_broker) as client:
        wait_until(lambda: is_collecting(collector), "a connection")
        publish(client, [("window/a/b", b"%d" % n) for n in range(3000)])
        wait_until(lambda: collector.health.messages == 3000, "all messages", 60)
    assert originals(settings) == [b"%d" % n for n in range(3000)]
    assert len(in_vain) <= 10
