"""A collector that is told to stop: what it acknowledged is staged and sealed, and it ends in time, whatever hangs."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.conftest import free_port
from sensor_platform_tests.faults.load import Load
from sensor_platform_tests.mqtt.collecting import (
    collecting,
    collector_process,
    environment_of,
    make_settings,
    originals,
)
from sensor_platform_tests.waiting import wait_until


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path / "own broker", free_port()) as own:
        yield own


def granted(home: Path) -> bool:
    return next(home.glob("staging/_open/c0/subscriptions"), None) is not None


def staged(settings: Settings) -> int:
    store = LocalStaging(settings.home / "staging")
    return sum(map(store.count, store.micro_batches())) + store.open_messages()


def settings_for(broker: EmbeddedBroker, home: Path, root: str) -> Settings:
    """A micro-batch stays open for long, so that only a drain seals it."""
    return make_settings(broker, home, root, buffer_flush_interval_ms=60_000)


def prove_each_once(settings: Settings, load: Load) -> None:
    """What the broker confirmed is there once after the next collector took the rest."""
    with collecting(settings.model_copy(update={"mqtt": settings.mqtt.model_copy(update={"linger_ms": 0})})):
        wait_until(lambda: staged(settings) >= len(load.confirmed), "the rest", 60)
    found = originals(settings)
    lost = set(load.confirmed) - set(found)
    doubled = len(found) - len(set(found))
    print(f"confirmed {len(load.confirmed)}, staged {len(found)}, lost {len(lost)}, doubled {doubled}")
    assert (lost, doubled) == (set(), 0)


def test_sigterm_under_load_seals_all_and_ends_with_0(own_broker: EmbeddedBroker, home: Path) -> None:
    settings = settings_for(own_broker, home, "term")
    with collector_process(settings) as process:
        wait_until(lambda: granted(home), "granted filters")
        with Load(own_broker, "term/a/b") as load:
            wait_until(lambda: staged(settings) > 500, "some load", 60)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
            assert LocalStaging(home / "staging").open_messages() == 0
    prove_each_once(settings, load)


def test_a_broker_that_hangs_does_not_hold_it(own_broker: EmbeddedBroker, home: Path) -> None:
    settings = settings_for(own_broker, home, "hung")
    assert own_broker.pid is not None
    with collector_process(settings) as process:
        wait_until(lambda: granted(home), "granted filters")
        with Load(own_broker, "hung/a/b") as load:
            wait_until(lambda: staged(settings) > 300, "some load", 60)
            os.kill(own_broker.pid, signal.SIGSTOP)
            try:
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=60) == 0
                assert LocalStaging(home / "staging").open_messages() == 0
            finally:
                os.kill(own_broker.pid, signal.SIGCONT)
    prove_each_once(settings, load)


#: The real command, with a disk that answers no fsync once the file `hang` is there.
HANGING_DISK = """
import os, threading
from pathlib import Path
from sensor_platform.cli import sensor_platform

real = os.fdatasync
def fdatasync(fd):
    if Path("hang").exists():
        Path("hangs").touch()
        threading.Event().wait()
    real(fd)
os.fdatasync = fdatasync
sensor_platform(["collect"], standalone_mode=False)
"""


@contextmanager
def on_a_hanging_disk(settings: Settings, *, stop_timeout: str) -> Iterator[subprocess.Popen[bytes]]:
    environ: dict[str, Any] = {**os.environ, **environment_of(settings), "MQTT_STOP_TIMEOUT": stop_timeout}
    with (settings.home / "collector.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", HANGING_DISK], env=environ, cwd=settings.home, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


@pytest.mark.parametrize("how", ["in time", "a second signal"])
def test_a_disk_that_hangs_does_not_hold_it(own_broker: EmbeddedBroker, home: Path, how: str) -> None:
    settings = settings_for(own_broker, home, "disk")
    with on_a_hanging_disk(settings, stop_timeout="1" if how == "in time" else "600") as process:
        wait_until(lambda: granted(home), "granted filters")
        with Load(own_broker, "disk/a/b") as load:
            wait_until(lambda: staged(settings) > 100, "some load", 60)
            (home / "hang").touch()
            wait_until((home / "hangs").exists, "the disk to hang")
            process.send_signal(signal.SIGTERM)
            if how == "a second signal":
                process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 1
    assert ("MQTT_STOP_TIMEOUT" if how == "in time" else "a second signal") in (home / "collector.log").read_text()
    prove_each_once(settings, load)
