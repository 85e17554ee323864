"""The collector dies: every confirmed message is staged, and none counts twice.

Payloads have no time of their own and are equal in pairs, so only the redelivery window can tell a repeat from another.
"""

import random
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sensor_platform.staging.kill_points import VARIABLE
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.mqtt.collecting import (
    collecting,
    collector_process,
    make_settings,
    originals,
    publish,
    publisher,
    rows,
)
from sensor_platform_tests.waiting import wait_until


def granted(home: Path) -> bool:
    """Whether the broker keeps what is published from now on."""
    return next(home.glob("staging/_open/c0/subscriptions"), None) is not None


def make_session(settings: Any) -> None:
    """The session at the broker, before anything is published."""
    with collecting(settings):
        wait_until(lambda: granted(settings.home), "granted filters")


POINTS = [
    "before_write",
    "after_write",
    "after_sync",
    "before_acknowledge",
    "after_acknowledge",
    "after_link",
    "between_link_and_unlink",
    "after_unlink",
    "after_folder_sync",
]


@pytest.mark.parametrize(
    ("point", "protocol", "read_path"),
    [
        *((point, protocol, "auto") for point in POINTS for protocol in ("5", "3.1.1")),
        ("before_write", "5", "stock"),
        ("after_sync", "3.1.1", "stock"),
        ("after_acknowledge", "5", "stock"),
    ],
)
def test_killed_at_this_very_line_nothing_is_lost_or_doubled(
    broker: Any, home: Path, point: str, protocol: str, read_path: str
) -> None:
    root = f"{point}-{protocol}-{read_path}"
    settings = make_settings(broker, home, root, protocol=protocol, read_path=read_path)
    make_session(settings)
    with publisher(broker) as client:
        publish(client, [(f"{root}/a/b", b"%d" % (n // 2)) for n in range(40)])
        with collector_process(settings, **{VARIABLE: point}) as doomed:
            assert doomed.wait(timeout=30) == -signal.SIGKILL
        publish(client, [(f"{root}/a/b", b"last")])
    with collecting(settings):
        wait_until(lambda: b"last" in originals(settings), "the last message")
    assert Counter(originals(settings)) == Counter([b"%d" % (n // 2) for n in range(40)] + [b"last"])
    assert LocalStaging(home / "staging").open_messages() == 0
    if point == "after_sync":  # durable, never acknowledged: all of it came again, and was recognised
        repeats = [row for row in rows(settings) if row["redelivery_of"] is not None]
        assert repeats
        by_sequence = {row["sequence"]: row["payload"] for row in rows(settings)}
        assert all(by_sequence[row["redelivery_of"]] == row["payload"] for row in repeats)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_killed_five_times_under_load_every_confirmed_message_is_there_once(
    broker: Any, home: Path, protocol: str
) -> None:
    root = f"load-{protocol}"
    settings = make_settings(broker, home, root, protocol=protocol)
    make_session(settings)
    confirmed: list[bytes] = []
    enough = threading.Event()

    def load() -> None:
        with publisher(broker) as client:
            number = 0
            while not enough.is_set():
                payloads = [b"id %d" % n for n in range(number, number + 200)]
                publish(client, [(f"{root}/a/b", payload) for payload in payloads])
                confirmed.extend(payloads)
                number += 200

    thread = threading.Thread(target=load)
    thread.start()
    chance = random.Random(7)
    try:
        for _ in range(5):
            before = len(rows(settings))
            with collector_process(settings) as process:
                goal = before + chance.randrange(300, 2000)
                wait_until(lambda goal=goal: staged(settings) > goal, "some load", 60)  # type: ignore[misc]
                process.send_signal(signal.SIGKILL)
                process.wait(timeout=10)
    finally:
        enough.set()
        thread.join(timeout=60)
    with collecting(settings):
        wait_until(lambda: confirmed[-1] in originals(settings), "the last message", 60)
    times = Counter(originals(settings))
    assert set(confirmed) - set(times) == set()
    assert {payload: n for payload, n in times.items() if n > 1} == {}


def staged(settings: Any) -> int:
    store = LocalStaging(settings.home / "staging")
    return sum(map(store.count, store.micro_batches())) + store.open_messages()
