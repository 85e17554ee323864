"""An empty staging area for each test."""

from pathlib import Path

import pytest

from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import new_staging


@pytest.fixture
def staging(tmp_path: Path) -> LocalStaging:
    return new_staging(tmp_path)
