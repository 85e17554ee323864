"""The wishes in the control row, and what a collector does while it does not collect."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.mqtt.control import Witness
from sensor_platform.mqtt.health import CollectorHealth, Figures
from sensor_platform.mqtt.history import ConnectionHistory
from sensor_platform.mqtt.states import State
from sensor_platform_tests.conftest import free_port
from sensor_platform_tests.mqtt.collecting import (
    collecting,
    is_collecting,
    make_settings,
    originals,
    publish,
    publisher,
)
from sensor_platform_tests.staging.groups import group, writer
from sensor_platform_tests.waiting import wait_until

if TYPE_CHECKING:
    from sensor_platform.database.engine import Database


def test_the_control_row_switches_it_off_and_on(broker: Any, home: Path, database: "Database") -> None:
    settings = make_settings(broker, home, "switch")
    with psycopg.connect(database.url, autocommit=True) as sql, publisher(broker) as client:
        sql.execute("insert into sensor_platform.collector_control (sensor_on) values (true) on conflict do nothing")
        with collecting(settings, database_url=database.url) as collector:
            wait_until(lambda: is_collecting(collector), "a connection")
            publish(client, [("switch/a/b", b"on")])
            wait_until(lambda: collector.health.messages == 1, "the first message")
            sql.execute("update sensor_platform.collector_control set api_on = false")
            wait_until(lambda: collector.health.state is State.WAITING, "the switch")
            assert originals(settings) == [b"on"]  # drained and sealed
            publish(client, [("switch/a/b", b"while off")])
            state = "select state, connected, messages, error from sensor_platform.collector_heartbeat"
            wait_until(lambda: sql.execute(state).fetchone() == ("waiting", False, 1, None), "the heartbeat")
            sql.execute("update sensor_platform.collector_control set api_on = true")
            wait_until(lambda: originals(settings) == [b"on", b"while off"], "what the broker kept")
        assert sql.execute(state).fetchone() == ("stopped", False, 2, None)


def test_one_that_starts_while_switched_off_does_not_connect(broker: Any, home: Path, database: "Database") -> None:
    settings = make_settings(broker, home, "starts-off")
    with psycopg.connect(database.url, autocommit=True) as sql:
        sql.execute("insert into sensor_platform.collector_control (sensor_on) values (false)")
        with collecting(settings, database_url=database.url) as collector:
            wait_until(lambda: collector.health.state is State.WAITING, "the wish")
            assert collector.health.connections == 0


def test_what_a_crash_left_open_is_sealed_by_one_that_is_switched_off(
    broker: Any, home: Path, database: "Database"
) -> None:
    settings = make_settings(broker, home, "crashed")
    today = datetime.now(UTC).date()
    with writer(home / "staging") as crashed:
        crashed.recover()
        crashed.stage(group(b"durable"))  # and not sealed; perhaps tomorrow
    in_the_way = [home / f"staging/dt={day}" for day in (today, today + timedelta(days=1))]
    for path in in_the_way:
        path.touch()
    with psycopg.connect(database.url, autocommit=True) as sql:
        sql.execute("insert into sensor_platform.collector_control (sensor_on) values (false)")
        with collecting(settings, database_url=database.url) as collector:
            wait_until(lambda: collector.health.error_kind == "staging_unavailable", "a disk that refuses")
            for path in in_the_way:
                path.unlink()
            wait_until(lambda: originals(settings) == [b"durable"], "what the crash left")
            wait_until(lambda: collector.health.error is None, "the end of the trouble")
            assert (collector.health.state, collector.health.connections) == (State.WAITING, 0)


def test_an_unexpected_error_does_not_end_the_witness(database: "Database") -> None:
    healthy = Figures("c0", "me").snapshot()
    told: list[CollectorHealth] = []

    def health() -> CollectorHealth:
        told.append(healthy)
        if len(told) == 1:
            raise RuntimeError("not foreseen")
        return healthy

    witness = Witness(
        database.url,
        collector="c0",
        health=health,
        history=ConnectionHistory(),
        standing=lambda: (),
        on_wish=lambda: None,
        on_added=lambda _: None,
    )
    witness.start()
    try:
        with psycopg.connect(database.url, autocommit=True) as sql:
            beats = "select count(*) from sensor_platform.collector_heartbeat"
            wait_until(lambda: sql.execute(beats).fetchone() == (1,), "a heartbeat")
    finally:
        witness.stop()


@pytest.mark.parametrize("how", ["switched off", "stopped"])
def test_without_a_connection_it_seals_and_rests_all_the_same(tmp_path: Path, home: Path, how: str) -> None:
    with EmbeddedBroker(tmp_path / "own broker", free_port()) as own:
        settings = make_settings(own, home, "lost", buffer_flush_interval_ms=60_000)
        with collecting(settings) as collector:
            with publisher(own) as client:
                wait_until(lambda: is_collecting(collector), "a connection")
                publish(client, [("lost/a/b", b"1")])
                wait_until(lambda: collector.health.messages == 1, "the message")
            own.stop()
            wait_until(lambda: not collector.health.connected, "the loss")
            assert originals(settings) == []
            if how == "switched off":
                collector._wish.is_wished = lambda: False  # type: ignore[method-assign]
                wait_until(lambda: collector.health.state is State.WAITING, "the switch")
                assert originals(settings) == [b"1"]
        assert collector.health.state is State.STOPPED
        assert originals(settings) == [b"1"]


def test_unmanaged_it_collects_whatever_the_row_says(broker: Any, home: Path, database: "Database") -> None:
    settings = make_settings(broker, home, "unmanaged")
    with psycopg.connect(database.url, autocommit=True) as sql:
        sql.execute("insert into sensor_platform.collector_control (sensor_on) values (true) on conflict do nothing")
        sql.execute("update sensor_platform.collector_control set sensor_on = false")
        with collecting(settings, database_url=database.url, managed=False) as collector:
            wait_until(lambda: is_collecting(collector), "a connection")
            beats = "select count(*) from sensor_platform.collector_heartbeat where state = 'collecting'"
            wait_until(lambda: sql.execute(beats).fetchone() == (1,), "a heartbeat")


def test_an_empty_database_is_no_reason_to_wait(broker: Any, home: Path, database_url: str) -> None:
    settings = make_settings(broker, home, "no-tables")
    with collecting(settings, database_url=database_url) as collector, publisher(broker) as client:
        wait_until(lambda: is_collecting(collector), "a connection")
        publish(client, [("no-tables/a/b", b"1")])
        wait_until(lambda: originals(settings) == [b"1"], "the message")
