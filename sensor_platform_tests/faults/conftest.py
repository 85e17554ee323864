"""A broker for each trial, since it is killed, paused and made to forget."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sensor_platform.embedded.broker import EmbeddedBroker, find_mosquitto
from sensor_platform_tests.conftest import free_port, missing_tool


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """mosquitto with persistence and our configuration, of this test alone."""
    if find_mosquitto() is None:
        missing_tool("mosquitto is not installed")
    with EmbeddedBroker(tmp_path / "broker", free_port()) as broker:
        yield broker
