"""Alert states, kept in PostgreSQL: `evaluate` moves them on, and writes what channels are to be told beside them.

The change of state and its outbox rows commit together, under one lock: however many evaluators there are and wherever
one dies, a channel is to be told of each firing once and of its end once. Telling them is `channels.deliver`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.tables import alert, alert_outbox
from sensor_platform.health.channels import CHANNELS
from sensor_platform.health.figures import Figure, latest
from sensor_platform.health.rules import RULE_NAMES, Condition, rules

if TYPE_CHECKING:
    from sensor_platform.database.engine import Database
    from sensor_platform.settings import HealthSettings, Settings

#: Recorded figures older than this say nothing about now.
FIGURES_WITHIN = timedelta(minutes=2)


class AlertState(Enum):
    """PENDING -> FIRING -> (ACKNOWLEDGED ->) RESOLVED. What goes away while still pending never was an alert."""

    PENDING = "pending"
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"

    def to(self, new: "AlertState") -> "AlertState":
        """`new`, where this state may become it; raises ValueError that quotes both where not."""
        if new not in _NEXT[self]:
            raise ValueError(f"an alert that is {self.value} cannot become {new.value}")
        return new


_NEXT = {
    AlertState.PENDING: {AlertState.FIRING},
    AlertState.FIRING: {AlertState.ACKNOWLEDGED, AlertState.RESOLVED},
    AlertState.ACKNOWLEDGED: {AlertState.RESOLVED},
    AlertState.RESOLVED: set[AlertState](),
}


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state that channels are to hear of."""

    alert_id: int
    rule: str
    subject: str
    state: AlertState
    value: float | None
    detail: str


def evaluate(
    database: "Database",
    settings: "Settings",
    *,
    now: datetime,
    figures: Iterable[Figure] | None = None,
    conditions: Sequence[Condition] = (),
) -> list[Transition]:
    """Moves every alert on, in one transaction, and says which fired and which ended.

    `figures` None: those recorded last. `conditions` are judged elsewhere, by asset checks for one; an alert whose
    condition is not among them this time stays as it is.
    """
    known = list(latest(database, now=now, within=FIGURES_WITHIN) if figures is None else figures)
    with database.begin() as connection:
        locks.take(connection, locks.ALERTS)
        opened = {(row.rule, row.subject): row for row in connection.execute(_OPEN)}
        judged = [*_judged(settings.health, known, opened), *_switched_off(settings.health, opened), *conditions]
        changes: list[Transition] = []
        for key, condition in {(c.rule, c.subject): c for c in judged}.items():
            changes += _move(connection, condition, opened.get(key), now=now)
        _tell(connection, changes)
    return changes


def firing(database: "Database") -> int:
    """How many alerts are firing; acknowledged ones still are."""
    query = sa.select(sa.func.count()).where(alert.c.state.in_(("firing", "acknowledged")))
    with database.connect() as connection:
        return int(connection.execute(query).scalar_one())


def listed(database: "Database", *, ended: bool = False, limit: int = 200) -> list[dict[str, Any]]:
    """Alerts, the newest first: those that are open, and with `ended` those that were."""
    query = sa.select(alert).order_by(alert.c.pending_since.desc(), alert.c.id.desc()).limit(limit)
    if not ended:
        query = query.where(alert.c.state != AlertState.RESOLVED.value)
    with database.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def acknowledge(database: "Database", alert_id: int) -> None:
    """Somebody looks after it. Raises ValueError where there is no such alert, or it is not firing."""
    with database.begin() as connection:
        locks.take(connection, locks.ALERTS)
        state = connection.execute(sa.select(alert.c.state).where(alert.c.id == alert_id)).scalar()
        if state is None:
            raise ValueError(f"there is no alert {alert_id}")
        new = AlertState(state).to(AlertState.ACKNOWLEDGED)
        connection.execute(sa.update(alert).where(alert.c.id == alert_id).values(state=new.value))


_OPEN = sa.select(alert).where(alert.c.state != AlertState.RESOLVED.value)

_Opened = dict[tuple[str, str], sa.Row[Any]]


def _judged(settings: "HealthSettings", figures: list[Figure], opened: _Opened) -> list[Condition]:
    """What the rules that are on make of the figures."""
    told = {key for key, row in opened.items() if row.state != AlertState.PENDING.value}
    found = [
        rule.judge(figure, is_firing=(rule.name, figure.subject) in told)
        for rule in rules(settings)
        for figure in figures
        if figure.figure == rule.figure
    ]
    return [condition for condition in found if condition is not None]


def _switched_off(settings: "HealthSettings", opened: _Opened) -> list[Condition]:
    """An end for the open alerts of rules that are off now: nothing would ever end them otherwise."""
    off = set(RULE_NAMES) - {rule.name for rule in rules(settings)}
    return [
        Condition(rule, subject, None, None, firing=False, detail=f"the rule {rule} is switched off")
        for rule, subject in opened
        if rule in off
    ]


def _move(
    connection: sa.Connection, condition: Condition, row: sa.Row[Any] | None, *, now: datetime
) -> list[Transition]:
    """One condition's step; at most one transition."""
    if row is None:
        return _open(connection, condition, now=now) if condition.firing else []
    state = AlertState(row.state)
    seen = {"value": condition.value, "detail": condition.detail}
    if state is AlertState.PENDING and not condition.firing:
        connection.execute(sa.delete(alert).where(alert.c.id == row.id))
        return []
    if state is AlertState.PENDING and now - row.pending_since >= timedelta(seconds=condition.for_s):
        return [_change(connection, row.id, condition, state.to(AlertState.FIRING), fired_at=now)]
    if state is not AlertState.PENDING and not condition.firing:
        return [_change(connection, row.id, condition, state.to(AlertState.RESOLVED), resolved_at=now)]
    connection.execute(sa.update(alert).where(alert.c.id == row.id).values(**seen))
    return []


def _open(connection: sa.Connection, condition: Condition, *, now: datetime) -> list[Transition]:
    """A new alert: pending, and firing at once where it need not hold for any time."""
    values = {
        "rule": condition.rule,
        "subject": condition.subject,
        "state": AlertState.PENDING.value,
        "value": condition.value,
        "threshold": condition.threshold,
        "detail": condition.detail,
        "pending_since": now,
    }
    alert_id = connection.execute(sa.insert(alert).values(**values).returning(alert.c.id)).scalar_one()
    if condition.for_s > 0:
        return []
    return [_change(connection, alert_id, condition, AlertState.PENDING.to(AlertState.FIRING), fired_at=now)]


def _change(
    connection: sa.Connection, alert_id: int, condition: Condition, new: AlertState, **at: datetime
) -> Transition:
    values = {"state": new.value, "value": condition.value, "detail": condition.detail, **at}
    connection.execute(sa.update(alert).where(alert.c.id == alert_id).values(**values))
    return Transition(alert_id, condition.rule, condition.subject, new, condition.value, condition.detail)


def _tell(connection: sa.Connection, changes: list[Transition]) -> None:
    rows = [
        {"alert_id": change.alert_id, "channel": channel, "transition": change.state.value}
        for change in changes
        for channel in CHANNELS
    ]
    if rows:
        connection.execute(sa.insert(alert_outbox), rows)
