"""An API over a fresh database and the session's broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from sensor_platform.database.engine import Database
from sensor_platform.settings import ApiSettings, MqttSettings, Settings
from sensor_platform_tests.api.served import Served, serve
from sensor_platform_tests.conftest import Broker, free_port


@pytest.fixture
def settings(home: Path, database: Database, broker: Broker) -> Settings:
    return Settings(
        home=home,
        database_url=SecretStr(database.url),
        mqtt=MqttSettings(broker_url=broker.url, username=broker.username, password=SecretStr(broker.password)),
        api=ApiSettings(port=free_port()),
    )


@pytest.fixture
def served(settings: Settings) -> Iterator[Served]:
    with serve(settings) as running:
        yield running
