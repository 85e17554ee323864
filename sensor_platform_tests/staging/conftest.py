"""A clock that is half past, and one S3 server a module, empty for each test."""

import time
import urllib.request
from collections.abc import Iterator
from functools import partial

import pytest

from sensor_platform.staging.clock import ReceivedClock
from sensor_platform_tests.staging.s3_server import S3Server

HOUR_NS = 3600 * 10**9


@pytest.fixture(autouse=True)
def _half_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer's wall clock goes on from half past an hour: one that ends while a test runs seals a file more."""
    late_ns = (time.time_ns() - HOUR_NS // 2) % HOUR_NS
    clock = partial(ReceivedClock, wall_ns=lambda: time.time_ns() - late_ns)
    monkeypatch.setattr("sensor_platform.staging.writer.ReceivedClock", clock)


@pytest.fixture(scope="module")
def _s3_server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
def s3(_s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """A server with an empty bucket; this process has the credentials."""
    reset = urllib.request.Request(f"{_s3_server.endpoint}/moto-api/reset", method="POST")
    with urllib.request.urlopen(reset, timeout=20):
        _s3_server.make_bucket()
    for name, value in _s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return _s3_server
