"""Alert states on a real PostgreSQL: told once, ended once, whoever evaluates and however often."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import alert, alert_outbox
from sensor_platform.health.alerts import AlertState, Transition, acknowledge, evaluate, firing, listed
from sensor_platform.health.channels import deliver
from sensor_platform.health.figures import Figure, record
from sensor_platform.health.rules import RULE_NAMES, Condition, rules
from sensor_platform.settings import HealthSettings, Settings

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = Settings(health=HealthSettings(message_rate=100, error_rate_percent=5, collector_down_s=30))


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def rate(database: Database, value: float | None, seconds: float, settings: Settings = SETTINGS) -> list[Transition]:
    return evaluate(database, settings, now=at(seconds), figures=[Figure("message_rate", "platform", value)])


def told(database: Database) -> list[tuple[str, str]]:
    query = sa.select(alert_outbox.c.channel, alert_outbox.c.transition).order_by(alert_outbox.c.id)
    with database.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_a_value_that_stays_too_high_fires_once_and_ends_once(database: Database) -> None:
    assert rate(database, 150, 0) == []
    assert [a["state"] for a in listed(database)] == ["pending"]
    assert rate(database, 150, 29) == []
    (fired,) = rate(database, 150, 30)
    assert (fired.state, fired.detail) == (AlertState.FIRING, "150 messages/s, more than 100")
    assert rate(database, 160, 40) == []
    assert firing(database) == 1
    (ended,) = rate(database, 10, 50)
    assert (ended.alert_id, ended.state) == (fired.alert_id, AlertState.RESOLVED)
    assert rate(database, 10, 60) == []
    assert told(database) == [("log", "firing"), ("database", "firing"), ("log", "resolved"), ("database", "resolved")]
    (row,) = listed(database, ended=True)
    assert (row["pending_since"], row["fired_at"], row["resolved_at"]) == (at(0), at(30), at(50))
    assert listed(database) == []


def test_a_short_peak_is_nobodys_business(database: Database) -> None:
    rate(database, 150, 0)
    rate(database, 50, 10)
    assert rate(database, 150, 35) == []
    assert told(database) == []
    assert [a["pending_since"] for a in listed(database)] == [at(35)]


def test_a_value_that_hovers_around_the_threshold_is_told_once(database: Database) -> None:
    rate(database, 101, 0)
    for step in range(1, 20):
        assert (
            rate(database, 95 if step % 2 else 101, 40 * step) == []
        )  # 95 is not above the threshold: it never held for 30 s
    rate(database, 101, 1000)
    changes = [
        change.state for step in range(1, 20) for change in rate(database, 101 if step % 2 else 95, 1000 + 40 * step)
    ]
    assert changes == [AlertState.FIRING]
    assert [change.state for change in rate(database, 90, 3000)] == [AlertState.RESOLVED]


def test_an_unknown_value_changes_nothing(database: Database) -> None:
    rate(database, 150, 0)
    rate(database, 150, 30)
    assert rate(database, None, 60) == []
    assert firing(database) == 1


def test_a_rule_at_zero_is_off_and_ends_its_alert(database: Database) -> None:
    off = Settings(health=HealthSettings(message_rate=0))
    assert "message_rate" not in [rule.name for rule in rules(off.health)]
    rate(database, 150, 0)
    rate(database, 150, 30)
    (ended,) = rate(database, 150, 60, settings=off)
    assert (ended.state, ended.detail) == (AlertState.RESOLVED, "the rule message_rate is switched off")


def test_every_rule_has_its_name_in_the_list_that_ends_alerts() -> None:
    assert tuple(rule.name for rule in rules(HealthSettings())) == RULE_NAMES


def test_each_collector_has_an_alert_of_its_own_and_it_fires_at_once(database: Database) -> None:
    ages = [Figure("collector_age_s", "a", 31), Figure("collector_age_s", "b", 2)]
    (fired,) = evaluate(database, SETTINGS, now=at(0), figures=ages)
    assert (fired.rule, fired.subject, fired.state) == ("collector_down", "a", AlertState.FIRING)


def test_a_full_disk_and_late_uploads_fire_at_once_and_end(database: Database) -> None:
    def look(*, refused_s: float, waits_s: float, seconds: float) -> list[tuple[str, str]]:
        figures = [Figure("cannot_stage_s", "c0", refused_s), Figure("upload_age_s", "c0", waits_s)]
        changes = evaluate(database, SETTINGS, now=at(seconds), figures=figures)
        return [(change.rule, change.state.value) for change in changes]

    assert look(refused_s=1, waits_s=200, seconds=0) == []
    assert look(refused_s=3, waits_s=301, seconds=2) == [("cannot_stage", "firing"), ("upload_backlog", "firing")]
    assert look(refused_s=0, waits_s=0, seconds=9) == [("cannot_stage", "resolved"), ("upload_backlog", "resolved")]


def test_a_check_fires_and_ends_an_alert_of_its_own(database: Database) -> None:
    def check(*, failed: bool, seconds: float) -> list[Transition]:
        found = Condition("check_accounted_for", "readings", 3, 0, failed, "3 messages are missing")
        return evaluate(database, SETTINGS, now=at(seconds), figures=[], conditions=[found])

    assert check(failed=False, seconds=0) == []
    assert [c.state for c in check(failed=True, seconds=1)] == [AlertState.FIRING]
    assert evaluate(database, SETTINGS, now=at(2), figures=[]) == []
    assert firing(database) == 1
    assert [c.state for c in check(failed=False, seconds=3)] == [AlertState.RESOLVED]


def test_two_evaluators_at_once_tell_once(database: Database) -> None:
    rate(database, 150, 0)
    with ThreadPoolExecutor(4) as pool:
        changes = [c for found in pool.map(lambda _: rate(database, 150, 30), range(8)) for c in found]
    assert [c.state for c in changes] == [AlertState.FIRING]
    assert told(database) == [("log", "firing"), ("database", "firing")]


def test_figures_are_those_recorded_last_unless_they_are_old(database: Database) -> None:
    high = [Figure("dead_letters_pending", "platform", 20_000)]
    record(database, high, now=at(0))
    evaluate(database, SETTINGS, now=at(1))
    record(database, high, now=at(30))
    assert [c.rule for c in evaluate(database, SETTINGS, now=at(31))] == ["dead_letter_backlog"]
    assert evaluate(database, SETTINGS, now=at(600)) == []
    assert firing(database) == 1


def test_an_acknowledged_alert_still_ends_and_is_told(database: Database) -> None:
    rate(database, 150, 0)
    (fired,) = rate(database, 150, 30)
    acknowledge(database, fired.alert_id)
    assert [a["state"] for a in listed(database)] == ["acknowledged"]
    assert rate(database, 150, 40) == []
    assert [c.state for c in rate(database, 0, 50)] == [AlertState.RESOLVED]
    with pytest.raises(ValueError, match="an alert that is resolved cannot become acknowledged"):
        acknowledge(database, fired.alert_id)
    with pytest.raises(ValueError, match="there is no alert 0"):
        acknowledge(database, 0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (AlertState.PENDING, AlertState.RESOLVED),
        (AlertState.PENDING, AlertState.ACKNOWLEDGED),
        (AlertState.RESOLVED, AlertState.FIRING),
        (AlertState.ACKNOWLEDGED, AlertState.FIRING),
        (AlertState.FIRING, AlertState.PENDING),
    ],
)
def test_a_wrong_step_raises_and_quotes_both_states(old: AlertState, new: AlertState) -> None:
    with pytest.raises(ValueError, match=f"{old.value} cannot become {new.value}"):
        old.to(new)


STEPS = st.lists(st.tuples(st.sampled_from([50.0, 95.0, 101.0, 200.0]), st.sampled_from([1, 15, 31])), max_size=12)


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
@example(steps=[(200.0, 1), (200.0, 31), (95.0, 1), (50.0, 1)])
def test_any_history_alternates_firing_and_resolved(database: Database, steps: list[tuple[float, int]]) -> None:
    with database.begin() as connection:
        connection.execute(sa.delete(alert_outbox))
        connection.execute(sa.delete(alert))
    expected: list[str] = []
    since: float | None = None
    is_firing, clock = False, 0.0
    found: list[str] = []
    for value, pause in steps:
        clock += pause
        found += [c.state.value for c in rate(database, value, clock)]
        if is_firing and value <= 90:
            is_firing, since = False, None
            expected.append("resolved")
        elif not is_firing and value > 100:
            since = clock if since is None else since
            if clock - since >= 30:
                is_firing = True
                expected.append("firing")
        elif not is_firing:
            since = None
    assert found == expected
    assert [transition for channel, transition in told(database) if channel == "log"] == expected
    assert deliver(database) == 2 * len(expected)
