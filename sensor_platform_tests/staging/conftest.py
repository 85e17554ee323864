"""One S3 server a module, empty for each test."""

import urllib.request
from collections.abc import Iterator

import pytest

from sensor_platform_tests.staging.s3_server import S3Server


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
