"""Formats of one's own: a folder for them, and that no worker outlives the tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sensor_platform.transformers.worker.owner import stop_worker


@pytest.fixture(scope="module")
def formats_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder, so that one warm worker serves these tests."""
    return tmp_path_factory.mktemp("formats")


@pytest.fixture(scope="module", autouse=True)
def _no_worker_is_left() -> Iterator[None]:
    yield
    stop_worker()
