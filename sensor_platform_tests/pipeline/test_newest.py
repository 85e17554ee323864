from datetime import UTC, date, datetime, timedelta

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.days import DayFigures, day_figures
from sensor_platform.pipeline.newest import newest_letters, newest_readings, newest_rollups
from sensor_platform.pipeline.rollups import roll_up
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, stage, value

DAY = date(2026, 11, 23)


def test_the_newest_readings_are_those_of_the_series_last_heard_of(database: Database, staging: LocalStaging) -> None:
    def of(sensor: str, *values: float, at: datetime) -> list[Message]:
        topic = f"factory/press/sensors/{sensor}/data"
        times = [at + timedelta(seconds=n) for n in range(len(values))]
        return [
            Message({"value": number, "timestamp": time.isoformat(), "unit": "bar"}, topic)
            for number, time in zip(values, times, strict=True)
        ]

    minute = timedelta(minutes=1)
    content = [*of("old", 1, at=HOUR), *of("mid", 2, at=HOUR + minute), *of("new", 3, 4, at=HOUR + 2 * minute)]
    stage(staging, "a", content)
    load(staging, database)
    found = newest_readings(database, limit=2)
    assert [(row["work_unit"], row["sensor"], row["metric"], row["value"], row["unit"]) for row in found] == [
        ("press", "new", "value", 4.0, "bar"),
        ("press", "mid", "value", 2.0, "bar"),
    ]
    assert found[0]["time"] == HOUR + 2 * minute + timedelta(seconds=1)


def test_the_newest_letters_come_first_with_a_topic_that_can_be_read(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [Message(b"{"), Message(b"\xff"), Message(b"[")])
    load(staging, database)
    found = newest_letters(database, limit=2)
    assert [row["code"] for row in found] == ["invalid_json", "invalid_encoding"]
    assert {row["topic"] for row in found} == {"factory/press/sensors/p1/data"}
    assert found[0]["id"] > found[1]["id"]


def test_rollups_show_their_newest_buckets_and_a_day_its_totals(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1), value(3, HOUR + timedelta(minutes=1)), value(5, HOUR - timedelta(hours=1))])
    load(staging, database)
    roll_up(database, first=DAY, last=DAY)
    (newest,) = newest_rollups(database, "minute", limit=1)
    assert (newest["bucket"], newest["sensor"], newest["mean"]) == (HOUR + timedelta(minutes=1), "p1", 3.0)
    (day,) = newest_rollups(database, "day", limit=10)
    assert (day["bucket"], day["count"], day["min"], day["max"]) == (datetime(2026, 11, 23, tzinfo=UTC), 3, 1.0, 5.0)
    before = DAY - timedelta(days=1)
    figures = day_figures(database, first=before, last=DAY)
    assert figures == {before: DayFigures(), DAY: DayFigures(series=1, hours=2, readings=3, good=3)}
    assert (figures[DAY].good_percent, figures[before].good_percent) == (100.0, None)
