"""Whatever a network sends: nothing crashes, every well-framed message is staged byte for byte, and accounted for."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sensor_platform.mqtt.collector import Collector
from sensor_platform.pipeline.accounting import mismatches
from sensor_platform.pipeline.process import pending, process
from sensor_platform.routes.file import load_routes
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.mqtt.collecting import collecting, make_settings, rows
from sensor_platform_tests.mqtt.fuzz import ROOT, Message, ending_frames, messages, odd_frame
from sensor_platform_tests.waiting import wait_until

if TYPE_CHECKING:
    from sensor_platform.database.engine import Database

MESSAGES = 51_000
CHAPTERS = 60
CONNECT, PUBACK, PUBREC, PUBREL, SUBSCRIBE, PINGREQ = 0x10, 0x40, 0x50, 0x62, 0x82, 0xC0


class Script:
    """A broker's side, one chapter a connection: what is unconfirmed again, new messages, and then an end.

    The first chapters end with what the client must not survive, the others with anything, and we close. Bytes leave in
    pieces of any size.
    """

    def __init__(self, random: Random, *, is_5: bool) -> None:
        self._random = random
        self._is_5 = is_5
        every = list(messages(random, MESSAGES, is_5=is_5))
        size = MESSAGES // CHAPTERS
        self.chapters = [every[start : start + size] for start in range(0, MESSAGES, size)]
        self.sent: list[Message] = []
        self._unconfirmed: dict[int, Message] = {}
        self.repeated = 0

    def play(self, connection: socket.socket, chapter: int, error: Callable[[], str | None]) -> None:
        """One connection, from CONNECT to its end. Fails where the client goes on after what is no MQTT."""
        reader = connection.makefile("rb")
        self._welcome(connection, reader, session_present=chapter > 0)
        again = list(self._unconfirmed.values())
        self.repeated += len(again)
        new = self.chapters[chapter]
        self.sent += new
        self._unconfirmed |= {each.packet_id: each for each in new if each.qos}
        self._send(connection, b"".join([each.frame(again=True) for each in again] + [each.frame() for each in new]))
        if chapter == len(self.chapters) - 1:
            return self._listen(connection, reader, until=lambda: not self._unconfirmed)
        if self._random.random() < 0.5:
            self._listen(connection, reader, until=lambda: not self._unconfirmed)
        ending = ending_frames(is_5=self._is_5)
        if chapter < len(ending):
            self._send(connection, ending[chapter])
            self._listen(connection, reader)  # to its end: the client's doing
            said = wait_until(error, f"an error after {ending[chapter].hex()}")
            assert "not MQTT" in said, (ending[chapter].hex(), said)
        else:
            whole = self._random.choice(new).frame()
            cut = whole[: self._random.randrange(len(whole))]
            with suppress(OSError):  # the odd frame may have ended it
                self._send(connection, self._random.choice((odd_frame(self._random) + cut, cut)))
                connection.shutdown(socket.SHUT_WR)
            self._listen(connection, reader)
        return None

    def _welcome(self, connection: socket.socket, reader: Any, *, session_present: bool) -> None:
        first, _ = _packet(reader)
        assert first == CONNECT
        connection.sendall(bytes([0x20, 2 + self._is_5, session_present, 0]) + b"\0" * self._is_5)
        if not session_present or self._is_5:
            first, body = _packet(reader)
            assert first == SUBSCRIBE
            connection.sendall(bytes([0x90, 3 + self._is_5]) + body[:2] + b"\0" * self._is_5 + b"\1")

    def _send(self, connection: socket.socket, data: bytes) -> None:
        at = 0
        with suppress(ConnectionError):
            while at < len(data):
                size = self._random.choice((1, 3, 100, 5_000, 200_000))
                connection.sendall(data[at : at + size])
                at += size

    def _listen(self, connection: socket.socket, reader: Any, until: Callable[[], bool] = lambda: False) -> None:
        """What the client says, until then or until it ends the connection."""
        with suppress(ConnectionError, struct.error):
            while not until():
                first, body = _packet(reader)
                if first in (PUBACK, PUBREC):
                    self._unconfirmed.pop(int.from_bytes(body[:2], "big"), None)
                with suppress(OSError):  # we may have said our last word
                    if first == PUBREC:
                        connection.sendall(bytes([PUBREL, 2]) + body[:2])
                    elif first == PINGREQ:
                        connection.sendall(b"\xd0\0")


def _packet(reader: Any) -> tuple[int, bytes]:
    """First byte and body of a packet of the client. Raises struct.error at the end."""
    first, length = struct.unpack("BB", reader.read(2))
    return first, reader.read(length)


@contextmanager
def playing(script: Script, error: Callable[[], str | None]) -> Iterator[tuple[Any, threading.Thread]]:
    """The script on a port, in a thread; what failed in it is raised at the end."""
    failures: list[BaseException] = []

    def play(listener: socket.socket) -> None:
        try:
            for chapter in range(len(script.chapters)):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(60)
                    script.play(connection, chapter, error)
        except BaseException as err:
            failures.append(err)

    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        listener.settimeout(60)
        thread = threading.Thread(target=play, args=(listener,), name="fuzzing broker")
        url = f"mqtt://127.0.0.1:{listener.getsockname()[1]}"
        try:
            yield SimpleNamespace(url=url, username="", password=""), thread
        finally:
            if thread.ident:
                thread.join(120)
    if failures:
        raise failures[0]
    assert not thread.is_alive()


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_whatever_arrives_is_staged_byte_for_byte_and_accounted_for(
    home: Path, database: "Database", protocol: str
) -> None:
    script = Script(Random(f"fuzz {protocol}"), is_5=protocol == "5")
    collectors: list[Collector] = []
    with playing(script, lambda: collectors[0].health.error) as (broker, thread):
        settings = make_settings(
            broker, home, ROOT, protocol=protocol, keep_alive_s=60, max_payload_bytes=50_000, reconnect_max_s=0.2
        )
        with collecting(settings) as collector:
            collectors.append(collector)
            thread.start()
            thread.join(200)
            assert not thread.is_alive()
    staged = rows(settings)
    first_time = [row for row in staged if row["redelivery_of"] is None]
    assert len(first_time) == len(script.sent)
    for row, message in zip(first_time, script.sent, strict=True):
        assert _same(row, message), (row, message)
    assert 0 < len(staged) - len(first_time) <= script.repeated

    store = LocalStaging(home / "staging")
    report = process(store, database, load_routes(settings), settings=settings)
    assert pending(store, database) == []
    assert report.messages.staged == len(staged)
    assert report.messages.balanced()
    assert report.readings.balanced()
    assert report.messages.duplicate >= len(staged) - len(first_time)
    assert min(report.messages.accepted, report.messages.dead_lettered, report.messages.ignored) > 100
    assert mismatches(database) == []
    codes = {"invalid_topic", "no_route", "payload_too_large", "invalid_json"}
    assert codes <= set(report.refused_by_code)


def _same(row: dict[str, Any], message: Message) -> bool:
    return (
        row["topic"] == message.topic
        and row["payload"] == message.payload
        and row["qos"] == message.qos
        and row["retain"] == bool(message.first & 1)
        and (row["packet_id"] or 0) == message.packet_id
    )
