"""A place says what its sensors say together, and those of all places in it."""

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.rollups import roll_up
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import Message, load, routes, rows, stage

DAY = date(2026, 11, 23)
NINE = datetime(2026, 11, 23, 9, tzinfo=UTC)


def message(place: str, sensor: str, number: float, seconds: int, **more: Any) -> Message:
    at = NINE + timedelta(seconds=seconds)
    return Message({"value": number, "timestamp": at.isoformat(), **more}, f"factory/{place}/sensors/{sensor}/data")


@pytest.fixture
def plant(database: Database, staging: LocalStaging) -> Database:
    """Cells a and b lie in the line, the line in the site; c lies nowhere."""
    content = [
        message("a", "s1", 4, 0),
        message("a", "s1", 7, 30),
        message("a", "s2", 13, 0, quality="uncertain"),
        message("b", "s1", 16, 15),
        message("b", "s1", 99, 20, quality="bad"),
        message("b", "s2", 16, 0, unit="K"),
        message("c", "s1", 1000, 0),
    ]
    stage(staging, "m", content)
    load(staging, database, using=routes())
    roll_up(database, first=DAY, last=DAY)
    with database.begin() as connection:
        connection.execute(sa.text("SET LOCAL search_path TO sensor_platform"))
        connection.execute(sa.text("INSERT INTO work_unit (name) VALUES ('line'), ('site')"))
        for child, parent in (("a", "line"), ("b", "line"), ("line", "site")):
            inside = "UPDATE work_unit SET parent_id = (SELECT id FROM work_unit WHERE name = :of) WHERE name = :name"
            connection.execute(sa.text(inside), {"of": parent, "name": child})
    return database


def figures(database: Database, level: str, columns: str, work_unit: str) -> list[tuple[Any, ...]]:
    return rows(
        database,
        f"SELECT {columns} FROM work_unit_{level} WHERE work_unit = :work_unit AND unit IS NULL ORDER BY bucket",
        work_unit=work_unit,
    )


@pytest.mark.parametrize("level", ["minute", "hour", "day"])
def test_a_place_with_the_places_in_it(plant: Database, level: str) -> None:
    columns = "sensors, count, min, max, sum, mean, readings, good, good_share"
    assert figures(plant, level, columns, "a") == [(2, 3, 4.0, 13.0, 24.0, 8.0, 3, 2, 2 / 3)]
    assert figures(plant, level, columns, "b") == [(1, 1, 16.0, 16.0, 16.0, 16.0, 2, 1, 0.5)]
    together = [(3, 4, 4.0, 16.0, 40.0, 10.0, 5, 3, 0.6)]
    assert figures(plant, level, columns, "line") == figures(plant, level, columns, "site") == together
    # About the mean of 10: 36 + 9 + 9 + 36, as of one sensor that had sent all four.
    assert figures(plant, level, "stddev", "site") == [(pytest.approx(math.sqrt(30), rel=1e-15),)]


def test_over_time_each_sensor_weighs_by_the_time_for_which_it_is_known(plant: Database) -> None:
    # s1 of a: 4 and 7, half of the minute each; s2: 13 all of it; s1 of b: 16 for 45 s.
    mean = (5.5 * 60 + 13 * 60 + 16 * 45) / 165
    assert figures(plant, "minute", "time_weighted_mean", "site") == [(mean,)]


def test_another_unit_is_another_row(plant: Database) -> None:
    query = "SELECT unit, count FROM work_unit_day WHERE work_unit = 'site' ORDER BY unit"
    assert rows(plant, query) == [("K", 1), (None, 4)]


def test_a_place_that_lies_in_itself_ends(plant: Database) -> None:
    with plant.begin() as connection:
        inside = "SET parent_id = (SELECT id FROM sensor_platform.work_unit WHERE name = 'a')"
        connection.execute(sa.text(f"UPDATE sensor_platform.work_unit {inside} WHERE name = 'site'"))
    assert figures(plant, "day", "count", "a") == figures(plant, "day", "count", "site") == [(4,)]
