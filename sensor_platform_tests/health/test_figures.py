"""Each figure, from rows and files written by hand."""

import os
from collections.abc import Container
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import (
    collector_control,
    collector_heartbeat,
    dead_letter,
    dead_letter_message,
    health,
    ledger,
    sensor,
    sensor_clock,
    sparkplug_node,
    work_unit,
)
from sensor_platform.embedded.status import status
from sensor_platform.errors import ObjectStoreError
from sensor_platform.health.figures import KEEP, Figure, latest, measure, record
from sensor_platform.health.rules import rules
from sensor_platform.pipeline.registry import import_registry, set_sensor
from sensor_platform.settings import Settings
from sensor_platform.staging.compacted_area import CompactedName
from sensor_platform.staging.format import MicroBatch
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import load as load_staged
from sensor_platform_tests.pipeline.staged import stage, value

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def ago(**spans: float) -> datetime:
    return NOW - timedelta(**spans)


UPLOADS = ("uploads_waiting", "upload_age_s")


def beat(database: Database, **columns: Any) -> None:
    values = {
        "collector": "c1",
        "incarnation": "i",
        "client_id": "id",
        "host": "h",
        "pid": 1,
        "beat_at": NOW,
        "state": "collecting",
        "connected": True,
        "since": ago(hours=1),
        "messages": 0,
        "payload_bytes": 0,
        "redelivered": 0,
        "qos0": 0,
        "open_messages": 0,
        "connections": 1,
    } | columns
    with database.begin() as connection:
        connection.execute(sa.delete(collector_heartbeat).where(collector_heartbeat.c.collector == values["collector"]))
        connection.execute(sa.insert(collector_heartbeat).values(values))


def load(database: Database, name: str = "mb", **columns: Any) -> int:
    counts = dict.fromkeys(("staged", "accepted", "partial", "dead_lettered", "duplicate", "ignored"), 0)
    readings = dict.fromkeys(("decoded", "inserted", "duplicate_readings", "refused", "conflicts"), 0)
    times = {"hour": ago(minutes=30), "first_received_at": NOW, "last_received_at": NOW, "committed_at": NOW}
    versions: dict[str, Any] = {"route_versions": {}, "transformer_versions": {}}
    values = {"name": name, **counts, **readings, **times, **versions, **columns}
    with database.begin() as connection:
        made: int = connection.execute(sa.insert(ledger).values(values).returning(ledger.c.id)).scalar_one()
    return made


def figure(database: Database, name: str, staging: Path | None = None, *, subject: str = "platform") -> float | None:
    found = measure(database, LocalStaging(staging or Path("/nonexistent")), now=NOW)
    (value,) = [f.value for f in found if f.figure == name and f.subject == subject]
    return value


def test_an_empty_platform_has_figures_and_claims_nothing(database: Database) -> None:
    assert figure(database, "message_rate") == 0
    assert figure(database, "error_rate_percent") == 0
    assert figure(database, "dead_letters_pending") == 0
    assert figure(database, "staging_lag_s") == 0
    assert figure(database, "freshness_s") is None


def test_the_message_rate_is_that_of_all_collectors_since_the_oldest_sample(database: Database) -> None:
    record(database, [Figure("messages_total", "c1", 9_999)], now=ago(seconds=90))
    record(database, [Figure("messages_total", "c1", 1_000), Figure("messages_total", "c2", 50)], now=ago(seconds=50))
    record(database, [Figure("messages_total", "c1", 1_900)], now=ago(seconds=20))
    beat(database, messages=2_000)
    beat(database, collector="c2", messages=300)
    assert figure(database, "message_rate") == pytest.approx((1_000 + 250) / 50)


def test_a_collector_that_started_again_counts_from_zero(database: Database) -> None:
    record(database, [Figure("messages_total", "c1", 1_000_000)], now=ago(seconds=40))
    beat(database, messages=200)
    assert figure(database, "message_rate") == pytest.approx(5)


def test_without_a_sample_the_ledger_says_the_message_rate(database: Database) -> None:
    beat(database, messages=5_000)
    record(database, [Figure("messages_total", "c1", 1)], now=ago(seconds=2))
    load(database, staged=120, accepted=120, last_received_at=ago(seconds=30))
    load(database, "older", staged=900, accepted=900, last_received_at=ago(seconds=70))
    assert figure(database, "message_rate") == pytest.approx(2)


def test_the_error_rate_counts_messages_of_which_anything_was_refused(database: Database) -> None:
    load(database, staged=100, accepted=90, partial=4, dead_lettered=2, duplicate=3, ignored=1)
    load(database, "old", staged=50, dead_lettered=50, committed_at=ago(minutes=6))
    assert figure(database, "error_rate_percent") == pytest.approx(6)


def test_dead_letters_that_a_retry_will_look_at_are_pending(database: Database) -> None:
    micro_batch = load(database, staged=4, dead_lettered=4)
    message = {
        "micro_batch": micro_batch,
        "received_at": NOW,
        "topic": b"t",
        "payload": b"p",
        "qos": 1,
        "retain": False,
    }
    letter = {"micro_batch": micro_batch, "ordinal": -1, "stage": "decode", "code": "invalid_json", "detail": "d"}
    states = ["pending", "retrying", "exhausted", "discarded"]
    with database.begin() as connection:
        connection.execute(sa.insert(dead_letter_message), [{**message, "sequence": i} for i in range(4)])
        connection.execute(
            sa.insert(dead_letter), [{**letter, "sequence": i, "state": state} for i, state in enumerate(states)]
        )
    assert figure(database, "dead_letters_pending") == 2


@pytest.mark.parametrize(
    ("columns", "age_s"),
    [
        ({}, 0),
        ({"beat_at": NOW - timedelta(seconds=45)}, 45),
        ({"connected": False, "state": "connecting", "since": NOW - timedelta(seconds=20)}, 20),
        ({"connected": False, "state": "waiting", "since": NOW - timedelta(hours=2)}, 0),
        ({"connected": False, "state": "stopped", "beat_at": NOW - timedelta(seconds=90)}, 3600),
    ],
)
def test_the_age_of_a_collector_is_how_long_it_has_not_been_collecting(
    database: Database, columns: dict[str, Any], age_s: float
) -> None:
    beat(database, **columns)
    assert figure(database, "collector_age_s", subject="c1") == age_s


def test_a_collector_that_is_wished_off_is_not_down(database: Database) -> None:
    beat(database, connected=False, state="stopped", beat_at=ago(hours=3))
    with database.begin() as connection:
        connection.execute(sa.insert(collector_control).values(sensor_on=False))
    assert figure(database, "collector_age_s", subject="c1") == 0


def test_one_that_stopped_while_others_go_on_is_not_down(database: Database) -> None:
    beat(database, connected=False, state="stopped", beat_at=ago(hours=3))
    beat(database, collector="c2", beat_at=ago(seconds=40))
    assert figure(database, "collector_age_s", subject="c1") == 0
    assert figure(database, "collector_age_s", subject="c2") == 40


def test_a_disk_that_refuses_is_counted_from_when_it_began(database: Database) -> None:
    beat(database, error="a full disk", error_kind="staging_unavailable", since=ago(seconds=5), connected=False)
    beat(database, collector="c2", error="no broker", error_kind="unreachable", since=ago(seconds=9))
    assert figure(database, "cannot_stage_s", subject="c1") == 5
    assert figure(database, "cannot_stage_s", subject="c2") == 0


def test_what_waits_for_the_object_store_is_counted_by_collector(database: Database) -> None:
    beat(database, upload_waiting=7, upload_waiting_since=ago(seconds=400))
    beat(database, collector="c2")
    assert [figure(database, name, subject="c1") for name in ("uploads_waiting", "upload_age_s")] == [7, 400]
    assert [figure(database, name, subject="c2") for name in ("uploads_waiting", "upload_age_s")] == [0, 0]


def test_what_a_stopped_collector_left_is_counted_by_one_that_goes_on(database: Database, home: Path) -> None:
    left = {"upload_waiting": 7, "upload_waiting_since": ago(seconds=400)}
    beat(database, state="stopped", **left)
    assert figure(database, "uploads_waiting", subject="c1") == 7  # nobody uploads it
    beat(database, collector="c2", **left)
    beat(database, collector="c3", host="elsewhere", state="stopped", upload_waiting=1)
    found = [figure(database, name, subject=each) for each in ("c1", "c2", "c3") for name in UPLOADS]
    assert found == [0, 0, 7, 400, 1, 0]
    settings = Settings(home=home, database_url=SecretStr(database.url))
    assert status(settings, None)["staging"]["upload_waiting"] == 8


class Watched(LocalStaging):
    """Notes from which hour it is listed."""

    listed_from: datetime | None = None

    def micro_batches(
        self, start: datetime | None = None, end: datetime | None = None, *, but: Container[CompactedName] = ()
    ) -> list[MicroBatch]:
        self.listed_from = start
        return super().micro_batches(start, end, but=but)


def test_the_staging_lag_looks_at_the_last_hours_and_behind_what_was_loaded(database: Database, home: Path) -> None:
    """Not at years of files every ten seconds."""
    load(database, hour=ago(days=2))
    waits = stage(LocalStaging(home), "b", [value(1)], hour=ago(days=1).replace(minute=0))
    os.utime(LocalStaging(home).path(waits), (0, ago(minutes=4).timestamp()))
    staging = Watched(home)
    lag = [f.value for f in measure(database, staging, now=NOW) if f.figure == "staging_lag_s"]
    assert (lag, staging.listed_from) == ([240], ago(days=2))
    load(database, "b", hour=ago(minutes=30))
    measure(database, staging, now=NOW)
    assert staging.listed_from == NOW.replace(hour=9, minute=0)


class Down(LocalStaging):
    """An object store that does not answer."""

    def micro_batches(
        self, start: datetime | None = None, end: datetime | None = None, *, but: Container[CompactedName] = ()
    ) -> list[MicroBatch]:
        raise ObjectStoreError("s3://plant: cannot list")


def test_figures_are_measured_while_the_object_store_is_down(database: Database, home: Path) -> None:
    """The alert about its backlog hangs on it."""
    beat(database, upload_waiting=1, upload_waiting_since=ago(seconds=400))
    measured = {f.figure: f.value for f in measure(database, Down(home), now=NOW)}
    assert (measured["staging_lag_s"], measured["upload_age_s"]) == (None, 400)


def test_sparkplug_gaps_are_those_since_the_oldest_sample_of_an_hour(database: Database) -> None:
    def node(topic: str, gaps: int) -> None:
        with database.begin() as connection:
            connection.execute(sa.insert(sparkplug_node).values(topic=topic, seq=0, received_at=NOW, gaps=gaps))

    assert (figure(database, "sparkplug_gaps"), figure(database, "sparkplug_gaps_total")) == (0, 0)
    node("spBv1.0/g/NCMD/a", 40)
    node("spBv1.0/g/NCMD/b", 5)
    # Nobody measured before: it is not known how old they are.
    assert (figure(database, "sparkplug_gaps"), figure(database, "sparkplug_gaps_total")) == (0, 45)
    record(database, [Figure("sparkplug_gaps_total", "platform", 7)], now=ago(minutes=61))
    record(database, [Figure("sparkplug_gaps_total", "platform", 41)], now=ago(minutes=59))
    record(database, [Figure("sparkplug_gaps_total", "platform", 44)], now=ago(minutes=1))
    assert figure(database, "sparkplug_gaps") == 4
    (firing,) = [rule for rule in rules(Settings().health) if rule.name == "sparkplug_gaps"]
    judged = firing.judge(Figure("sparkplug_gaps", "platform", 4), is_firing=False)
    assert judged is not None
    assert (judged.firing, judged.detail) == (
        True,
        "4 times in an hour messages of Sparkplug nodes were missing, more than 1",
    )


def test_the_clock_that_is_most_wrong_is_a_figure_and_fires_after_a_while(database: Database) -> None:
    assert figure(database, "clock_skew_s") == 0
    heard = [("ahead", -90.0, ago(minutes=5)), ("well", 0.5, ago(minutes=5)), ("silent", -500.0, ago(minutes=16))]
    with database.begin() as connection:
        connection.execute(sa.insert(work_unit).values(id=1, name="press"))
        for number, (name, delay_s, at) in enumerate(heard, 1):
            connection.execute(sa.insert(sensor).values(id=number, work_unit_id=1, name=name))
            delays = {"least_delay_s": delay_s, "mean_delay_s": delay_s}
            row = {"sensor": number, "hour": at, "readings": 9, "noted_at": at}
            connection.execute(sa.insert(sensor_clock).values(**row, **delays))
    assert figure(database, "clock_skew_s") == 90
    (rule,) = [rule for rule in rules(Settings().health) if rule.name == "clock_skew"]
    judged = rule.judge(Figure("clock_skew_s", "platform", 90), is_firing=False)
    assert judged is not None
    assert (judged.firing, judged.for_s) == (True, 1200)
    assert judged.detail == "a sensor's clock is wrong by 90 s, over 60 s: `sensors clocks` says whose"


def test_freshness_is_the_age_of_the_newest_message_in_the_tables(database: Database) -> None:
    load(database, last_received_at=ago(seconds=7))
    load(database, "old", last_received_at=ago(seconds=70))
    assert figure(database, "freshness_s") == 7


def test_recorded_figures_are_kept_for_days_and_not_longer(database: Database) -> None:
    record(database, [Figure("x", "platform", 1)], now=NOW - KEEP - timedelta(hours=1))
    record(database, [Figure("x", "platform", 2), Figure("y", "c1", None)], now=NOW)
    with database.connect() as connection:
        rows = connection.execute(sa.select(health.c.figure, health.c.value).order_by(health.c.id)).all()
    assert [tuple(row) for row in rows] == [("x", 2.0), ("y", None)]


def test_the_latest_figures_are_one_a_subject(database: Database) -> None:
    record(database, [Figure("x", "a", 1), Figure("x", "b", 2)], now=ago(seconds=50))
    record(database, [Figure("x", "a", 3)], now=ago(seconds=10))
    assert latest(database, now=NOW, within=timedelta(minutes=1)) == [Figure("x", "a", 3), Figure("x", "b", 2)]
    assert latest(database, now=NOW, within=timedelta(seconds=30)) == [Figure("x", "a", 3)]


def test_sensors_that_the_registry_lacks_and_those_that_it_alone_knows(database: Database, tmp_path: Path) -> None:
    staging = LocalStaging(tmp_path / "staging")
    stage(staging, "a", [value(1)])
    load_staged(staging, database)
    strangers = [Figure(name, "platform", None) for name in ("sensors_undeclared", "sensors_never_seen")]
    assert measure(database, staging, now=NOW)[-2:] == strangers
    path = tmp_path / "plant.csv"
    path.write_text("work_unit,sensor\npress,p2\npress,p3\n")
    import_registry(database, path, by="eve")
    assert [figure.value for figure in measure(database, staging, now=NOW)[-2:]] == [1.0, 2.0]


def test_a_sensor_is_silent_after_three_of_its_intervals(database: Database, tmp_path: Path) -> None:
    staging = LocalStaging(tmp_path / "staging")
    stage(staging, "a", [value(1, NOW)], hour=NOW.replace(minute=0), received_at=NOW)
    load_staged(staging, database)

    def silent(at: datetime) -> float | None:
        return next(one.value for one in measure(database, staging, now=at) if one.figure == "sensors_silent")

    assert silent(NOW) is None
    set_sensor(database, "p1", expected_interval_s=10)
    assert [silent(NOW + timedelta(seconds=passed)) for passed in (0, 30, 31)] == [0, 0, 1]
