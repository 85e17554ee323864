"""Fixtures of the Dagster layer: an instance of its own, and the core's parts on a real database and folder."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr

from sensor_platform.database.engine import Database
from sensor_platform.defs.resources import Platform
from sensor_platform.settings import Settings


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def stored_instance() -> Iterator[dg.DagsterInstance]:
    """With what an ephemeral one lacks: the default launcher, and a memory of what was switched on and off."""
    with dg.instance_for_test() as stored:
        yield stored


@pytest.fixture
def platform(home: Path, database: Database) -> Iterator[Platform]:
    """On a database of its own; its ticks do not wait, and its runs do not stay."""
    (home / "staging").mkdir()
    settings = Settings(home=home, database_url=SecretStr(database.url), run_stays_s=0)
    platform = Platform(settings, tick_wait_s=0)
    yield platform
    platform.database.dispose()


@pytest.fixture
def unreachable(home: Path) -> Platform:
    """A platform whose database nobody serves: port 1 of loopback refuses at once."""
    return Platform(Settings(home=home, database_url=SecretStr("postgresql://u:p@127.0.0.1:1/d")), tick_wait_s=0)


@pytest.fixture
def this_hour() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
