"""The database hangs, or has no connection left: the collector goes on as last told, and all is loaded afterwards."""

from pathlib import Path

import pytest

from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform_tests.faults.hurt_database import HurtDatabase, hurt, own_postgres
from sensor_platform_tests.faults.plant import Plant

__all__ = ["hurt", "own_postgres"]  # fixtures

pytestmark = pytest.mark.slow
KEEP_ALIVE_S = 5


def test_a_database_that_hangs_for_longer_than_the_keep_alive(
    own_broker: EmbeddedBroker, home: Path, hurt: HurtDatabase
) -> None:
    plant = Plant(own_broker, home, "db-hangs", database_url=hurt.url, keep_alive_s=KEEP_ALIVE_S)
    with plant.collecting() as collector:
        plant.publish()
        plant.wait_for_witness(collector)
        with hurt.frozen():
            plant.publish(250, every_s=3 * KEEP_ALIVE_S / 250)
            plant.wait_staged()
        messages, connections, connected = plant.wait_for_witness(collector)
    print(f"witness after the database hung: {messages} messages, {connections} connections")
    assert (messages, connections, connected) == (300, 1, True), "the connection to the broker was never lost"
    values = plant.prove_loaded("database hung", hurt.opened)
    assert values == dict.fromkeys(range(300), 1)


def test_a_collector_that_starts_while_the_database_has_no_connection_left(
    own_broker: EmbeddedBroker, home: Path, hurt: HurtDatabase
) -> None:
    plant = Plant(own_broker, home, "db-starved-start", database_url=hurt.url)
    with hurt.starved() as taken, plant.collecting() as collector:
        print(f"connections taken: {len(taken)}")
        plant.publish()
        plant.wait_staged()
        assert "PostgreSQL does not answer" in plant.refusal("process")
        for connection in taken:
            connection.close()
        plant.wait_for_witness(collector)
    assert plant.prove_loaded("starved at the start", hurt.opened) == dict.fromkeys(range(50), 1)
