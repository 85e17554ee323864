from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from dagster._core.test_utils import freeze_time
from pydantic import SecretStr

from sensor_platform.database.engine import Database
from sensor_platform.database.migrate import first_hour
from sensor_platform.defs import partitions
from sensor_platform.defs.partitions import HOUR, clamped, day_stretches, hour_stretches, key_of, window
from sensor_platform.settings import Settings

NOW = datetime(2026, 3, 2, 12, 59, 59, tzinfo=UTC)
START = NOW.replace(minute=0, second=0) - 5 * HOUR
HOURS = partitions.hourly_partitions(START)


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    """Dagster's own clock: which partitions there are depends on the hour, and a test must not run across its end."""
    with freeze_time(NOW):
        yield


def at(hours: int) -> datetime:
    return START + hours * HOUR


def test_partitions_reach_to_the_next_hour() -> None:
    assert HOURS.get_partition_keys() == [key_of(at(n)) for n in range(7)]


def test_a_middle_hour_stands_for_itself() -> None:
    assert window([key_of(at(2)), key_of(at(3))], partitions=HOURS) == (at(2), at(4))


def test_the_first_hour_stands_for_everything_before_it() -> None:
    assert window([key_of(at(0))], partitions=HOURS) == (None, at(1))


def test_the_last_hour_stands_for_everything_after_it() -> None:
    assert window([key_of(at(6))], partitions=HOURS) == (at(6), None)


@pytest.mark.parametrize(
    ("hour", "stands_in"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), at(0)),
        (at(3), at(3)),
        (datetime(2099, 1, 1, tzinfo=UTC), at(6)),
    ],
)
def test_an_hour_beyond_the_partitions_is_processed_with_the_nearest(hour: datetime, stands_in: datetime) -> None:
    assert clamped(hour, partitions=HOURS) == stands_in


def test_stretches_end_at_a_gap_and_at_the_cap() -> None:
    hours = [at(n) for n in (0, 1, 2, 5, 6, 6, 3)]
    assert hour_stretches(hours, at_most=3) == [(at(0), at(2)), (at(3), at(3)), (at(5), at(6))]


def test_stretches_of_days() -> None:
    days = [date(2014, 1, 2), date(2014, 1, 1), date(2026, 5, 1)]
    assert day_stretches(days, at_most=31) == [
        (date(2014, 1, 1), date(2014, 1, 2)),
        (date(2026, 5, 1), date(2026, 5, 1)),
    ]


def test_the_kept_copy_of_the_first_hour_needs_no_database(home: Path) -> None:
    (home / "first_hour").write_text("2026-03-01T07:00:00+00:00\n")
    settings = Settings(home=home, database_url=SecretStr("postgresql://u:p@127.0.0.1:1/d"))
    assert partitions.first_received_hour(settings) == datetime(2026, 3, 1, 7, tzinfo=UTC)


def test_the_first_hour_of_the_database_is_kept(home: Path, database: Database) -> None:
    hour = first_hour(database)
    assert partitions.first_received_hour(Settings(home=home, database_url=SecretStr(database.url))) == hour
    assert datetime.fromisoformat((home / "first_hour").read_text().strip()) == hour


def test_without_a_database_the_hours_begin_now_and_nothing_is_kept(home: Path) -> None:
    settings = Settings(home=home, database_url=SecretStr("postgresql://u:p@127.0.0.1:1/d"))
    found = partitions.first_received_hour(settings)
    assert datetime.now(UTC) - found < timedelta(hours=1, minutes=1)
    assert not (home / "first_hour").exists()
