"""The losses that users of other collectors reported, each played here under the name of its report."""

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform_tests.faults.hurt_database import HurtDatabase, hurt, own_postgres
from sensor_platform_tests.faults.plant import Plant
from sensor_platform_tests.waiting import wait_until

__all__ = ["hurt", "own_postgres"]  # fixtures

pytestmark = pytest.mark.slow
KEEP_ALIVE_S = 5
CRASHES = 3


def test_1000_messages_at_10_ms_with_the_connection_pool_starved(
    own_broker: EmbeddedBroker, home: Path, hurt: HurtDatabase
) -> None:
    plant = Plant(own_broker, home, "starved", database_url=hurt.url)
    with plant.collecting() as collector:
        plant.publish(1)
        plant.wait_for_witness(collector)
        with hurt.starved() as taken:
            print(f"connections taken: {len(taken)}")
            plant.publish(1000, every_s=0.01)
            plant.wait_staged()
            assert "PostgreSQL does not answer" in plant.refusal("process")
        plant.wait_for_witness(collector)
    values = plant.prove_loaded("1,000 messages, pool starved", hurt.opened)
    assert values == dict.fromkeys(range(1001), 1)


def test_the_database_away_for_longer_than_the_keep_alive(
    own_broker: EmbeddedBroker, home: Path, hurt: HurtDatabase
) -> None:
    plant = Plant(own_broker, home, "away", database_url=hurt.url, keep_alive_s=KEEP_ALIVE_S)
    with plant.collecting() as collector:
        plant.publish()
        plant.wait_for_witness(collector)
        with hurt.stopped():
            plant.publish(200, every_s=3 * KEEP_ALIVE_S / 200)
            plant.wait_staged()
        messages, connections, connected = plant.wait_for_witness(collector)
    print(f"witness after the database was away: {messages} messages, {connections} connections")
    assert (messages, connections, connected) == (250, 1, True)
    values = plant.prove_loaded("database away", hurt.opened)
    assert values == dict.fromkeys(range(250), 1)


def test_30_messages_a_second_through_crashes_of_the_database(
    own_broker: EmbeddedBroker, home: Path, hurt: HurtDatabase
) -> None:
    plant, over = Plant(own_broker, home, "crash", database_url=hurt.url), threading.Event()

    def publish() -> None:
        while not over.is_set():
            plant.publish(30, every_s=1 / 30)

    with plant.collecting() as collector, ThreadPoolExecutor(1) as machine:
        publishing = machine.submit(publish)
        try:
            for _ in range(CRASHES):
                crash_while_loading(plant, hurt)
        finally:
            over.set()
        publishing.result(60)
        plant.wait_staged()
        plant.wait_for_witness(collector)
    values = plant.prove_loaded(f"30 messages/s through {CRASHES} crashes", hurt.opened)
    assert values == dict.fromkeys(range(len(plant.confirmed)), 1)


def crash_while_loading(plant: Plant, hurt: HurtDatabase) -> None:
    staged = plant.staged()
    wait_until(lambda: plant.staged() > staged, "something to load", 30)
    with plant.command("process") as loading:
        wait_until(lambda: hurt.is_loading() or loading.poll() is not None, "a load", 60, every_s=0)
        hurt.crash()
        _, errors = loading.communicate(timeout=60)
    print(f"loading ended with {loading.returncode}: {errors[-200:]}")
    hurt.server.stop()
    hurt.server.start()


def test_one_refused_row_then_valid_ones(own_broker: EmbeddedBroker, home: Path, database: Database) -> None:
    """PostgreSQL itself refuses one row of a group, and later ones are as good as ever."""
    with database.begin() as connection:
        connection.exec_driver_sql("alter table sensor_platform.metric add constraint no_20 check (value <> 20)")
    plant = Plant(own_broker, home, "refused", database_url=database.url)
    with plant.collecting():
        for _ in range(2):
            plant.publish(50)
            plant.wait_staged()
            plant.cli("process")
    values = plant.prove_loaded("one refused row", database)
    assert values == dict.fromkeys([n for n in range(100) if n != 20], 1)
    (letter,) = plant.cli("dead-letters", "list")
    print(f"dead letter: {letter}")
    assert base64.b64decode(letter["payload_base64"]) == b'{"value": 20}'


def test_more_than_an_hour_of_queue_after_downtime(own_broker: EmbeddedBroker, home: Path, database: Database) -> None:
    """An hour at five messages a second and more, kept by our broker while the collector is down."""
    plant = Plant(own_broker, home, "downtime", database_url=database.url)
    with plant.collecting():
        plant.publish(100)
    plant.publish(20_000)
    own_broker.stop()
    own_broker.start()
    with plant.collecting():
        plant.wait_staged(timeout_s=120)
    values = plant.prove_loaded("20,000 queued messages", database)
    assert values == dict.fromkeys(range(20_100), 1)
