"""The last value of each series: the newest by time, as the series' policy shows it, by way of the index."""

from datetime import timedelta
from importlib.resources import files

import pytest
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.last import COLUMNS, last_values
from sensor_platform.pipeline.readings import UnknownSensorError
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, routes, stage, value

NOW = HOUR + timedelta(minutes=1)


def test_each_series_shows_its_newest_reading_with_age_and_quality(database: Database, staging: LocalStaging) -> None:
    other = Message({"force": 2, "timestamp": "2013-05-01T00:00:00Z"}, topic="factory/press/sensors/p2/data")
    newest = value(2.5, HOUR + timedelta(seconds=30), unit="bar", quality="uncertain")
    stage(staging, "a", [value(1.5, unit="bar"), newest, value(2.0, HOUR + timedelta(seconds=10)), other])
    load(staging, database)
    rows = last_values(database, now=NOW)
    assert [tuple(row) for row in rows] == [COLUMNS, COLUMNS]
    assert tuple(rows[0].values()) == (
        *("press", "p1", "value", HOUR + timedelta(seconds=30), 30.0, 2.5, None, "bar", "uncertain"),
    )
    assert (rows[1]["sensor"], rows[1]["metric"], rows[1]["time"].year, rows[1]["value"]) == ("p2", "force", 2013, 2.0)
    assert last_values(database, now=NOW, sensor="p2") == [rows[1]]
    assert last_values(database, now=NOW, metric="value") == [rows[0]]
    assert last_values(database, now=NOW, limit=1) == [rows[0]]
    with pytest.raises(UnknownSensorError):
        last_values(database, now=NOW, sensor="p3")


@pytest.mark.parametrize(("policy", "shown"), [("all", 3.0), ("last", 3.0), ("first", 1.0)])
def test_of_several_values_at_one_time_the_policy_chooses(
    database: Database, staging: LocalStaging, policy: str, shown: float
) -> None:
    using = routes(f", conflicts: {policy}")
    stage(staging, "b", [value(3.0)], received_at=HOUR + timedelta(minutes=2), first_sequence=9)
    load(staging, database, using=using)
    stage(staging, "a", [value(1.0), value(2.0)])
    load(staging, database, using=using)
    assert [row["value"] for row in last_values(database, now=NOW)] == [shown]


def test_a_text_has_no_value(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value("open")])
    load(staging, database, using=routes(", text: true"))
    assert [(row["value"], row["text"]) for row in last_values(database, now=NOW)] == [(None, "open")]


def test_a_big_table_is_not_scanned(database: Database, staging: LocalStaging) -> None:
    stage(staging, "a", [value(1.0)])
    load(staging, database)
    query = files("sensor_platform.pipeline").joinpath("sql/last.sql").read_text("utf-8")
    wanted = {"work_unit": None, "sensor": None, "metric": None, "limit": None}
    with database.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO sensor_platform.metric (series, time, value, quality, timed_by_receipt, micro_batch,"
                " sequence, ordinal)"
                " SELECT m.series, m.time - n * interval '0.1 s', n, 'g', false, m.micro_batch, n, 0"
                " FROM sensor_platform.metric m, generate_series(1, 20000) n"
            )
        )
        connection.execute(sa.text("ANALYZE sensor_platform.metric"))
        plan = connection.execute(sa.text(f"EXPLAIN {query}"), wanted).scalars().all()
    assert not [line for line in plan if "Seq Scan on metric" in line], "\n".join(plan)
    assert any("Index" in line and "metric" in line for line in plan)
    assert last_values(database, now=NOW)[0]["value"] == 1.0
