"""Hours by received time, days by event time, and how a clock that is wrong strands nothing.

The hourly partitions start where the database says this installation began, so that the UI does not show years of
missing hours. The first hour stands for everything before it and the last for everything after: a micro-batch received
"in 1970" is processed with the first hour, one "in 2099" with the last.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from dagster import DailyPartitionsDefinition, HourlyPartitionsDefinition

from sensor_platform.errors import SensorPlatformError
from sensor_platform.settings import Settings, load_settings

HOUR = timedelta(hours=1)
HOUR_FORMAT = "%Y-%m-%d-%H:%M"
FIRST_DAY = date(2001, 1, 1)  # the earliest valid event time
KEPT_COPY = "first_hour"

T = TypeVar("T", datetime, date)
Window = tuple[datetime | None, datetime | None]


def hourly_partitions(first_hour: datetime) -> HourlyPartitionsDefinition:
    """Received hours up to the next one: a collector's clock may lead by up to an hour (`end_offset=2`)."""
    return HourlyPartitionsDefinition(start_date=first_hour, timezone="UTC", fmt=HOUR_FORMAT, end_offset=2)


event_days = DailyPartitionsDefinition(start_date=FIRST_DAY.isoformat(), timezone="UTC", end_offset=1)


def first_received_hour(settings: Settings) -> datetime:
    """The hour in which this installation began: the copy kept in the home, the database's row, else the present hour.

    The copy comes first so that the code location loads, and keeps its partitions, while the database is down.
    """
    kept = settings.home / KEPT_COPY
    if kept.is_file():
        return datetime.fromisoformat(kept.read_text(encoding="utf-8").strip()).astimezone(UTC)
    if settings.database_url is None:
        return _floor_hour(datetime.now(UTC))
    return _first_hour_of_database(settings.database_url.get_secret_value(), kept)


def _first_hour_of_database(url: str, kept: Path) -> datetime:
    from sqlalchemy.exc import SQLAlchemyError

    from sensor_platform.database.engine import Database
    from sensor_platform.database.migrate import first_hour

    try:
        with Database(url) as database:
            hour = first_hour(database)
    except (SensorPlatformError, SQLAlchemyError):
        return _floor_hour(datetime.now(UTC))
    if kept.parent.is_dir():
        kept.write_text(hour.isoformat() + "\n", encoding="utf-8")
    return hour


def _floor_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


#: Made when the code location is loaded: assets name it. Everything else here takes it as a default.
received_hours = hourly_partitions(first_received_hour(load_settings()))


def hour_of(key: str) -> datetime:
    return datetime.strptime(key, HOUR_FORMAT).replace(tzinfo=UTC)


def key_of(hour: datetime) -> str:
    return hour.strftime(HOUR_FORMAT)


def window(keys: Sequence[str], *, partitions: HourlyPartitionsDefinition = received_hours) -> Window:
    """The received hours [start, end) that `keys` stand for; None where they reach beyond every partition."""
    first, last = min(keys), max(keys)
    start = None if first == partitions.get_first_partition_key() else hour_of(first)
    end = None if last == partitions.get_last_partition_key() else hour_of(last) + HOUR
    return start, end


def clamped(hour: datetime, *, partitions: HourlyPartitionsDefinition = received_hours) -> datetime:
    """The hour whose partition stands for `hour`."""
    first, last = partitions.get_first_partition_key(), partitions.get_last_partition_key()
    assert first is not None
    assert last is not None
    return min(max(hour, hour_of(first)), hour_of(last))


def hour_stretches(hours: Iterable[datetime], *, at_most: int) -> list[tuple[datetime, datetime]]:
    """Contiguous stretches as (first, last), oldest first: a range materializes everything between its ends."""
    return _stretches(sorted(set(hours)), step=HOUR, at_most=at_most)


def day_stretches(days: Iterable[date], *, at_most: int) -> list[tuple[date, date]]:
    """The same of days."""
    return _stretches(sorted(set(days)), step=timedelta(days=1), at_most=at_most)


def _stretches(ordered: Sequence[T], *, step: timedelta, at_most: int) -> list[tuple[T, T]]:
    found: list[tuple[T, T]] = []
    length = 0
    for moment in ordered:
        if found and length < at_most and moment - found[-1][1] == step:
            found[-1] = (found[-1][0], moment)
            length += 1
        else:
            found.append((moment, moment))
            length = 1
    return found
