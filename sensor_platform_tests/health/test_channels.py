"""Delivery out of the outbox: every row once, whoever delivers."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import alert_outbox
from sensor_platform.health import channels
from sensor_platform.health.alerts import evaluate
from sensor_platform.health.channels import deliver
from sensor_platform.health.rules import Condition
from sensor_platform.settings import Settings

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def raise_alert(database: Database, *subjects: str, firing: bool = True) -> None:
    found = [Condition("rule", subject, 7, 5, firing, "too much") for subject in subjects]
    evaluate(database, Settings(), now=NOW, figures=[], conditions=found)


def undelivered(database: Database) -> int:
    query = sa.select(sa.func.count()).where(alert_outbox.c.delivered_at.is_(None))
    with database.connect() as connection:
        return int(connection.execute(query).scalar_one())


def test_a_change_is_told_once(database: Database) -> None:
    raise_alert(database, "press")
    with capture_logs() as lines:
        assert deliver(database) == 2
        assert deliver(database) == 0
    (line,) = lines
    assert (line["event"], line["rule"], line["subject"], line["value"]) == ("alert_firing", "rule", "press", 7)
    raise_alert(database, "press", firing=False)
    with capture_logs() as lines:
        assert deliver(database) == 2
    assert [line["event"] for line in lines] == ["alert_resolved"]
    assert undelivered(database) == 0


def test_deliverers_at_once_share_the_rows(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "GROUP_SIZE", 3)
    raise_alert(database, *(f"press-{i}" for i in range(30)))
    with capture_logs() as lines, ThreadPoolExecutor(4) as pool:
        told = sum(pool.map(lambda _: deliver(database), range(4)))
    assert told == 60
    assert sorted(line["subject"] for line in lines) == sorted(f"press-{i}" for i in range(30))
    assert undelivered(database) == 0


def test_what_could_not_be_told_stays_in_the_outbox(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(row: object) -> None:
        raise OSError("no such device")

    raise_alert(database, "press")
    monkeypatch.setitem(channels.CHANNELS, "log", broken)
    with capture_logs() as lines:
        assert deliver(database) == 1
    assert [(line["event"], line["channel"]) for line in lines] == [("channel_failed", "log")]
    assert undelivered(database) == 1
    monkeypatch.undo()
    assert deliver(database) == 1
    assert undelivered(database) == 0
