"""What a rollup says of its readings: each figure by hand, whatever order they came in."""

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.rollups import roll_up
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, routes, rows, stage, value

DAY = date(2026, 11, 23)
NINE = datetime(2026, 11, 23, 9, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NINE + timedelta(seconds=seconds)


def rolled(
    staging: LocalStaging, database: Database, *messages: Message, name: str = "a", first_sequence: int = 1
) -> None:
    stage(staging, name, messages, first_sequence=first_sequence)
    load(staging, database, using=routes(", text: true, allow_nan: true"))
    roll_up(database, first=DAY, last=DAY)


def figures(database: Database, level: str, *columns: str, metric: str = "value") -> list[tuple[Any, ...]]:
    names = ", ".join(columns)
    return rows(database, f"SELECT {names} FROM rollup_{level} WHERE metric = :metric ORDER BY bucket", metric=metric)


def test_deviation_first_and_last(database: Database, staging: LocalStaging) -> None:
    rolled(staging, database, value(4, at(20)), value(2, at(10)), value(9, at(50)), value(3, at(90)))
    columns = ("count", "mean", "m2", "stddev", "first", "first_time", "last", "last_time")
    assert figures(database, "minute", *columns) == [
        (3, 5.0, 26.0, math.sqrt(13), 2.0, at(10), 9.0, at(50)),
        (1, 3.0, 0.0, None, 3.0, at(90), 3.0, at(90)),
    ]
    # About the mean of 4.5: 0.25 + 6.25 + 20.25 + 2.25.
    expected = [(4, 4.5, 29.0, math.sqrt(29 / 3), 2.0, at(10), 3.0, at(90))]
    assert figures(database, "hour", *columns) == expected
    assert figures(database, "day", *columns) == expected


def test_a_value_holds_until_the_next_one(database: Database, staging: LocalStaging) -> None:
    rolled(staging, database, value(2, at(10)), value(4, at(20)), value(9, at(50)), value(3, at(90)))
    columns = ("time_weighted_mean", "known_s")
    assert figures(database, "minute", *columns) == [
        # Nothing is known before the first: 2 for 10 s, 4 for 30 s, 9 for 10 s.
        (230 / 50, 50.0),
        # 9 holds from before for 30 s, then 3.
        (6.0, 60.0),
    ]
    # 2 * 10 + 4 * 30 + 9 * 40, then 3 to the end.
    assert figures(database, "hour", *columns) == [((500 + 3 * 3510) / 3590, 3590.0)]
    assert figures(database, "day", *columns) == [((500 + 3 * (15 * 3600 - 90)) / (15 * 3600 - 10), 15 * 3600 - 10.0)]


def test_a_late_reading_holds_into_the_next_bucket_however_far(database: Database, staging: LocalStaging) -> None:
    rolled(staging, database, value(3, at(1830)))
    assert figures(database, "minute", "time_weighted_mean") == [(3.0,)]
    made = rows(database, "SELECT xmin::text FROM metrics_minute")
    rolled(staging, database, value(9, at(0)), name="b", first_sequence=2)
    assert figures(database, "minute", "time_weighted_mean") == [(9.0,), (6.0,)]
    assert rows(database, "SELECT xmin::text FROM metrics_minute ORDER BY bucket")[1:] == made  # not made again


def test_quality_is_a_share_of_all_numbers(database: Database, staging: LocalStaging) -> None:
    good = [value(1, at(0)), value(2, at(20))]
    others = [value(3, at(40), quality="uncertain"), value(100, at(10), quality="bad"), value(math.nan, at(30))]
    rolled(staging, database, *good, *others, value("warm", at(50)), value(7, at(60), quality="bad"))
    columns = ("readings", "good", "good_share", "count", "mean", "last", "time_weighted_mean")
    assert figures(database, "minute", *columns) == [
        # What is bad ends nothing: 1 holds over it.
        (5, 2, 0.4, 3, 2.0, 3.0, 2.0),
        (1, 0, 0.0, 0, None, None, 3.0),
    ]
    assert figures(database, "hour", "readings", "good", "count", "mean") == [(6, 2, 3, 2.0)]


def test_of_several_at_one_time_the_first_and_the_last_received(database: Database, staging: LocalStaging) -> None:
    # Loaded in the other order than received.
    for name, received_at, number in (("late", HOUR + timedelta(minutes=1), 1), ("early", HOUR, 3)):
        messages = [value(number, at(0)), value(number + 1, at(0)), value(number + 4, at(30))]
        stage(staging, name, [*messages, value(number + 2, at(30))], received_at=received_at)
        load(staging, database)
    roll_up(database, first=DAY, last=DAY)
    # 3 and 4, then 1 and 2 at the start; 7 and 5, then 5 (a duplicate of the one before it) and 3 half a minute later.
    assert figures(database, "minute", "count", "first", "last") == [(7, 3.0, 3.0)]
    assert figures(database, "minute", "time_weighted_mean") == [((2 * 30 + 3 * 30) / 60,)]


def test_large_values_that_differ_little_lose_nothing(database: Database, staging: LocalStaging) -> None:
    spread = [value(1e9 + more, at(60 * n)) for n, more in enumerate((4, 7, 13, 16))]
    same = [value(2**60, at(n), metric="same") for n in range(3)]
    rolled(staging, database, *spread, *same)
    assert figures(database, "hour", "m2", "stddev") == [(90.0, math.sqrt(30))]
    assert figures(database, "day", "m2") == [(90.0,)]
    assert figures(database, "day", "m2", "stddev", metric="same") == [(0.0, 0.0)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_sum_is_that_of_event_time(database: Database, staging: LocalStaging, order: tuple[int, ...]) -> None:
    numbers = [value(2**60, at(0)), value(-(2**60), at(1)), value(1, at(2))]
    for n in order:
        rolled(staging, database, numbers[n], name=f"m{n}", first_sequence=1 + n)
    assert figures(database, "minute", "sum") == [(1.0,)]  # in another order 0


def test_beyond_all_measure_figures_are_missing_and_nothing_fails(database: Database, staging: LocalStaging) -> None:
    huge = [value(1.7e308, at(0)), value(-1.6e308, at(30)), value(1e200, at(60)), value(1e-200, at(61))]
    tiny = [value(5e-324, at(n), metric="tiny") for n in (0, 61)]
    rolled(staging, database, *huge, *tiny)
    columns = ("m2", "stddev", "first", "last")
    assert figures(database, "minute", *columns) == [(None, None, 1.7e308, -1.6e308), (None, None, 1e200, 1e-200)]
    assert figures(database, "day", *columns) == [(None, None, 1.7e308, 1e-200)]
    ((mean,),) = figures(database, "day", "time_weighted_mean")
    assert math.isnan(mean)  # infinite, and then infinitely less
    assert figures(database, "day", "m2", "time_weighted_mean", metric="tiny") == [(0.0, 0.0)]


def test_what_is_not_known_of_a_part_is_not_known_of_the_whole(database: Database, staging: LocalStaging) -> None:
    rolled(staging, database, value(1, at(0)), value(3, at(60)))
    with database.begin() as connection:  # as rows are that were made before there were these columns
        old = "readings = NULL, good = NULL, m2 = NULL, first = NULL, first_time = NULL, last = NULL, last_time = NULL"
        statement = f"UPDATE sensor_platform.metrics_minute SET {old}, area = NULL WHERE bucket = :bucket"
        connection.execute(sa.text(statement), {"bucket": NINE})
    rolled(staging, database, value(5, at(120)), name="b", first_sequence=3)
    columns = ("count", "mean", "readings", "stddev", "first", "last", "time_weighted_mean")
    assert figures(database, "hour", *columns) == [(3, 3.0, None, None, None, 5.0, None)]
    assert figures(database, "minute", *columns)[0] == (1, 1.0, None, None, None, None, None)
