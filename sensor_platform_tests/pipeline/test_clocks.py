"""Clocks that are wrong are told from the way of a message, and from old readings that come late."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.clocks import clocks, worst_skew_s
from sensor_platform.pipeline.mode import Mode
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, rows, stage

#: Messages are received a second apart.
NOW = HOUR + timedelta(minutes=10)


def messages(sensor: str, delays_s: Sequence[float | None], *, received_at: datetime) -> list[Message]:
    """One reading a message, so late; None: without a time of its own."""
    topic = f"factory/press/sensors/{sensor}/data"
    timed = [None if late is None else received_at + timedelta(seconds=n - late) for n, late in enumerate(delays_s)]
    return [
        Message({"value": n, **({} if at is None else {"timestamp": at.isoformat()})}, topic)
        for n, at in enumerate(timed)
    ]


def receive(
    staging: LocalStaging, database: Database, sensor: str, *delays_s: float | None, at: datetime = HOUR
) -> None:
    stage(staging, f"{sensor}-{at:%d%H%M%S}", messages(sensor, delays_s, received_at=at), received_at=at)
    load(staging, database)


def skews(database: Database, now: datetime = NOW) -> dict[str, float | None]:
    return {row["sensor"]: row["skew_s"] for row in clocks(database, now=now)}


@pytest.mark.parametrize(
    ("delays_s", "skew_s"),
    [
        ((0.25, 2.0, 0.5), -0.25),  # the way
        ((-200.0, -199.0, 40.0), 200.0),  # ahead, though one came late
        ((3600.5, 3600.25, 3601.0), -3600.25),  # behind by an hour
        ((86400.0, 43200.0, 3600.0), None),  # old readings
        ((3600.0, 3600.0), None),  # too few
        ((None, None, None), "no row"),  # our own clock
    ],
)
def test_the_least_delay_is_the_error_of_the_clock(
    database: Database, staging: LocalStaging, delays_s: tuple[float, ...], skew_s: float | None
) -> None:
    receive(staging, database, "p1", *delays_s)
    assert skews(database).get("p1", "no row") == skew_s
    with database.connect() as connection:
        assert worst_skew_s(connection, now=NOW) == (abs(skew_s) if isinstance(skew_s, float) else 0.0)


def test_loads_of_an_hour_are_taken_together_and_the_next_hour_begins_anew(
    database: Database, staging: LocalStaging
) -> None:
    receive(staging, database, "p1", 10.0, 10.0)
    receive(staging, database, "p1", 10.0, 10.0, at=HOUR + timedelta(seconds=20))  # so soon it is not looked at
    receive(staging, database, "p1", 4.0, 4.0, 16.0, 16.0, at=HOUR + timedelta(seconds=40))
    columns = "readings, least_delay_s, mean_delay_s"
    assert rows(database, f"SELECT {columns} FROM sensor_clock") == [(6, 4.0, 10.0)]
    later = HOUR + timedelta(hours=1)
    receive(staging, database, "p1", -3.0, at=later)
    receive(staging, database, "p1", -99.0, at=HOUR + timedelta(minutes=50))  # an upload that was late
    assert rows(database, f"SELECT {columns} FROM sensor_clock") == [(1, -3.0, -3.0)]


def test_what_is_made_again_says_nothing_of_a_clock_now(database: Database, staging: LocalStaging) -> None:
    receive(staging, database, "p1", 1.0, 1.0, 1.0)
    before = rows(database, "SELECT * FROM sensor_clock")
    load(staging, database, mode=Mode.AGAIN)
    assert rows(database, "SELECT * FROM sensor_clock") == before


def test_a_collector_whose_clock_was_in_a_later_year_stands_in_nobodys_way(
    database: Database, staging: LocalStaging
) -> None:
    receive(staging, database, "p1", 1.0, 1.0, 1.0, at=HOUR + timedelta(days=400))
    assert skews(database) == {}
    receive(staging, database, "p1", 2.0, 2.0, 2.0)
    assert skews(database) == {"p1": -2.0}


def test_the_most_wrong_come_first_and_the_silent_are_left_out(database: Database, staging: LocalStaging) -> None:
    receive(staging, database, "well", 0.5, 0.5, 0.5)
    receive(staging, database, "ahead", -90.0, -90.0, -90.0)
    receive(staging, database, "late", 9000.0, 90.0, 900.0)
    assert list(skews(database).items()) == [("ahead", 90.0), ("well", -0.5), ("late", None)]
    assert skews(database, now=HOUR + timedelta(hours=3)) == {}
