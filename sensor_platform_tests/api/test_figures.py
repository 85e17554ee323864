"""Health, figures over time, newest readings, alerts."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import collector_heartbeat
from sensor_platform.health.alerts import evaluate
from sensor_platform.health.figures import Figure, record
from sensor_platform.health.rules import Condition
from sensor_platform.pipeline.process import process
from sensor_platform.pipeline.registry import set_work_unit
from sensor_platform.settings import Settings
from sensor_platform_tests.api.served import Served
from sensor_platform_tests.health.test_figures import beat
from sensor_platform_tests.pipeline.staged import HOUR, stage, value
from sensor_platform_tests.waiting import wait_until


def test_health_is_ready_when_every_part_answers(served: Served, database: Database) -> None:
    assert served.context.bridge.wait_connected(10)
    before = served.http.get("/api/mqtt/health")
    assert (before.status_code, before.json()["parts"]["collector"]) == (503, "does not answer")
    beat(database, beat_at=datetime.now(UTC))
    now = wait_until(lambda: a if (a := served.http.get("/api/mqtt/health")).status_code == 200 else None, what="ready")
    assert now.json()["ready"] is True
    assert now.json()["parts"] == {"broker": "answers", "database": "answers", "collector": "answers"}
    assert now.json()["figures"]["dead_letters_pending"] == 0


def collector(served: Served) -> str:
    return str(served.http.get("/api/mqtt/health").json()["parts"]["collector"])


def test_a_collector_that_is_switched_off_is_ready_and_one_that_cannot_connect_is_not(
    served: Served, database: Database
) -> None:
    assert served.context.bridge.wait_connected(10)
    beat(database, beat_at=datetime.now(UTC), state="waiting", connected=False)
    wait_until(lambda: collector(served) == "waiting", what="waiting")
    beat(database, beat_at=datetime.now(UTC), state="connecting", connected=False)
    wait_until(lambda: collector(served) == "not connected", what="not connected")
    with database.begin() as connection:
        connection.execute(sa.update(collector_heartbeat).values(beat_at=datetime.now(UTC) - timedelta(minutes=1)))
    wait_until(
        lambda: served.http.get("/api/mqtt/health").json()["parts"]["collector"] == "does not answer", what="silence"
    )


def test_figures_are_served_over_time(served: Served, database: Database) -> None:
    now = datetime.now(UTC)
    for minutes, rate in ((30, 1.0), (10, 2.0), (1, 3.0)):
        record(database, [Figure("message_rate", "platform", rate)], now=now - timedelta(minutes=minutes))
    points = served.http.get("/api/figures", params={"minutes": 15}).json()["message_rate"]["platform"]
    assert [rate for _, rate in points] == [2.0, 3.0]
    assert served.http.get("/api/figures", params={"minutes": 0}).status_code == 422


def test_alerts_are_served_open_ones_first_of_all(served: Served, database: Database) -> None:
    def check(firing: bool) -> None:
        found = [Condition("check", subject, 1, 0, firing, "bad") for subject in ("a", "b")][: 2 if firing else 1]
        evaluate(database, Settings(), now=datetime.now(UTC), figures=[], conditions=found)

    check(True)
    check(False)
    assert [(a["subject"], a["state"]) for a in served.http.get("/api/alerts").json()] == [("b", "firing")]
    every = served.http.get("/api/alerts", params={"ended": True}).json()
    assert sorted((a["subject"], a["state"]) for a in every) == [("a", "resolved"), ("b", "firing")]


def test_the_newest_readings_of_each_series_come_from_the_tables(served: Served, settings: Settings) -> None:
    messages = [value(float(second), HOUR + timedelta(seconds=second), unit="C") for second in range(5)]
    context = served.context
    stage(context.staging, "c0-a-1", messages)
    process(context.staging, context.database, context.routes, settings=settings)
    (row,) = served.http.get("/api/readings", params={"points": 3}).json()
    assert (row["work_unit"], row["sensor"], row["metric"], row["unit"]) == ("press", "p1", "value", "C")
    assert (row["time"], row["value"], row["quality"]) == ("2026-11-23T10:00:04Z", 4.0, "good")
    assert row["points"] == [[1795428002.0, 2.0], [1795428003.0, 3.0], [1795428004.0, 4.0]]


def test_the_last_value_of_each_series_is_served_with_its_age(served: Served, settings: Settings) -> None:
    context = served.context
    stage(context.staging, "c0-a-1", [value(1.0), value(4.0, HOUR + timedelta(seconds=4), unit="C")])
    process(context.staging, context.database, context.routes, settings=settings)
    (row,) = served.http.get("/api/last", params={"sensor": "press/p1"}).json()
    assert row.pop("age_s") > -86_400 * 365 * 10
    assert row == {
        "work_unit": "press",
        "sensor": "p1",
        "metric": "value",
        "time": "2026-11-23T10:00:04Z",
        "value": 4.0,
        "text": None,
        "unit": "C",
        "quality": "good",
    }
    assert served.http.get("/api/last", params={"metric": "other"}).json() == []
    unknown = served.http.get("/api/last", params={"sensor": "nobody"})
    assert (unknown.status_code, "nobody" in unknown.json()["error"]["what"]) == (404, True)


def test_the_registry_is_served_to_read(served: Served, settings: Settings) -> None:
    context = served.context
    stage(context.staging, "c0-a-1", [value(1.0, unit="bar")])
    process(context.staging, context.database, context.routes, settings=settings)
    set_work_unit(context.database, "press", level="cell", parent="hall", by="eve")
    (row,) = served.http.get("/api/sensors", params={"declared": False}).json()
    assert (row["work_unit"], row["sensor"], row["metric"], row["unit"]) == ("press", "p1", "value", "bar")
    assert served.http.get("/api/sensors", params={"seen": False}).json() == []
    places = served.http.get("/api/work-units").json()
    assert [(place["path"], place["level"], place["sensors"]) for place in places] == [
        ("hall", None, 0),
        ("hall / press", "cell", 1),
    ]
    newest, _ = served.http.get("/api/registry/history").json()
    assert (newest["work_unit"], newest["by"], newest["after"]) == ("press", "eve", {"level": "cell", "parent": "hall"})
    assert served.http.get("/api/registry/history", params={"name": "oven"}).json() == []
