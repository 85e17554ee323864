"""The collector dies: every confirmed message is staged, and none counts twice.

Payloads have no time of their own and are equal in pairs, so only the redelivery window can tell a repeat from another.
"""

import itertools
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.staging.kill_points import VARIABLE
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.faults.figures import acknowledged_but_not_staged, staged_rows
from sensor_platform_tests.faults.tally import prove_order_of_files
from sensor_platform_tests.faults.trial import Trial
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


#: Each line of a group's way, and of a seal's, with how often it is passed before the collector dies there under load.
GROUP_POINTS = ["before_write", "after_write", "after_sync", "before_acknowledge", "after_acknowledge"]
SEAL_POINTS = ["after_link", "between_link_and_unlink", "after_unlink", "after_folder_sync"]
PASSES = {**dict.fromkeys(GROUP_POINTS, 20), **dict.fromkeys(SEAL_POINTS, 3)}
RECOVERY_POINTS = ["recovery_before_sync", "recovery_before_state", "recovery_before_seal", *SEAL_POINTS]
#: SIGKILLs at random instants; 200 in the long form.
KILLS = int(os.environ.get("SENSOR_PLATFORM_TEST_KILLS", "20"))


def by_turns(points: Iterable[str]) -> list[tuple[str, str]]:
    """Each point on one of the protocols: what happens on the disk does not depend on it."""
    return list(zip(points, itertools.cycle(["5", "3.1.1"]), strict=False))


@pytest.mark.parametrize(
    ("point", "protocol", "read_path"),
    [
        *((*each, "auto") for each in by_turns(PASSES)),
        ("before_write", "5", "stock"),
        ("after_sync", "3.1.1", "stock"),
        ("after_acknowledge", "5", "stock"),
    ],
)
def test_killed_at_this_very_line_equal_payloads_are_told_apart(
    own_broker: EmbeddedBroker, home: Path, point: str, protocol: str, read_path: str
) -> None:
    settings = make_settings(own_broker, home, "pairs", protocol=protocol, read_path=read_path)
    make_session(settings)
    with publisher(own_broker) as client:
        publish(client, [("pairs/a/b", b"%d" % (n // 2)) for n in range(40)])
        with collector_process(settings, **{VARIABLE: point}) as doomed:
            assert doomed.wait(timeout=60) == -signal.SIGKILL
        publish(client, [("pairs/a/b", b"last")])
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
@pytest.mark.parametrize(("point", "protocol"), by_turns(PASSES))
def test_killed_at_this_very_line_under_load(own_broker: EmbeddedBroker, home: Path, point: str, protocol: str) -> None:
    with Trial(own_broker, home, protocol) as trial:
        trial.stop_collector()
        trial.die_at(f"{point}:{PASSES[point]}")
        trial.start_collector()
        trial.stage(200)
        prove(trial, f"killed at {point}, {protocol}")


@pytest.mark.slow
@pytest.mark.parametrize(("point", "protocol"), by_turns(RECOVERY_POINTS))
def test_killed_during_recovery(own_broker: EmbeddedBroker, home: Path, point: str, protocol: str) -> None:
    with Trial(own_broker, home, protocol) as trial:
        trial.stop_collector()
        trial.die_at("before_acknowledge:5")  # leaves an open file
        for _ in range(2):
            trial.die_at(point)
        trial.start_collector()
        trial.stage(200)
        prove(trial, f"killed twice during recovery at {point}, {protocol}")


@pytest.mark.slow
@pytest.mark.timeout(300 + 10 * KILLS)
@pytest.mark.parametrize("protocol", ["5", "3.1.1"] if KILLS > 20 else ["5"])
def test_killed_at_random_instants(own_broker: EmbeddedBroker, home: Path, protocol: str) -> None:
    """Some of them before it is connected: while it starts and recovers."""
    chance, instant = random.Random(7), threading.Event()
    with Trial(own_broker, home, protocol) as trial:
        for _ in range(KILLS):
            if chance.random() < 0.75:
                trial.connect(len(trial.tap.connections) + (not trial.is_connected))
            instant.wait(chance.uniform(0, 0.7))
            trial.kill_collector()
            trial.start_collector()
        trial.stage(200)
        prove(trial, f"killed {KILLS} times at random instants, {protocol}")


def prove(trial: Trial, title: str) -> None:
    """By the publisher's log and by the wire."""
    figures = trial.settled(timeout_s=120)
    ours = acknowledged_but_not_staged(trial.tap, staged_rows(trial.home))
    figures.show(title, acknowledged=len(trial.tap.acknowledged), acknowledged_but_not_staged=ours)
    assert figures.is_clean
    assert ours == 0
    prove_order_of_files(LocalStaging(trial.home / "staging"))
