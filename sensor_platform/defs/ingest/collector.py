"""What the collectors say of themselves, read as a person would: rates, lag, connection, and if that is in order."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sensor_platform.database.tables import collector_control, collector_heartbeat

if TYPE_CHECKING:
    from sensor_platform.database.engine import Database


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The part of a collector's row that its witness looks at."""

    collector: str
    pid: int
    incarnation: str
    beat_at: datetime
    state: str
    connected: bool
    since: datetime
    last_commit_at: datetime | None
    messages: int
    redelivered: int
    open_messages: int
    error: str | None
    error_kind: str | None
    warnings: list[dict[str, str]]

    @property
    def standing(self) -> str:
        return f"{self.state}, {'connected' if self.connected else 'not connected'}"

    @property
    def news(self) -> list[str]:
        """What a change of is told at once."""
        return [self.standing, *(warning["kind"] for warning in self.warnings)]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the collectors do what they were told, and why not."""

    passed: bool
    description: str


_heartbeats = sa.select(*[collector_heartbeat.c[name] for name in Heartbeat.__dataclass_fields__]).order_by("collector")
_wish = sa.select(collector_control.c.sensor_on & collector_control.c.api_on)


def read_collectors(database: "Database") -> tuple[list[Heartbeat], bool]:
    """All heartbeats, and whether collecting is wished for: it is as long as nobody said otherwise."""
    with database.connect() as connection:
        beats = [Heartbeat(*row) for row in connection.execute(_heartbeats)]
        wished = connection.execute(_wish).scalar_one_or_none()
    return beats, wished is not False


def verdict(beats: list[Heartbeat], *, wished: bool, now: datetime, down_after_s: float) -> Verdict:
    """The worst that can be said of any of them; a collector that was stopped in order has nothing to say."""
    if not beats:
        return Verdict(False, "no collector has ever reported: start one with `sensor-platform collect`")
    running = [beat for beat in beats if beat.state != "stopped"]
    if not running:
        return Verdict(not wished, "every collector is stopped: start one with `sensor-platform collect`")
    troubles = [text for beat in running if (text := _trouble(beat, wished, now=now, down_after_s=down_after_s))]
    if troubles:
        return Verdict(False, "; ".join(troubles))
    return Verdict(True, ", ".join(f"{beat.collector} is {beat.standing}" for beat in running))


def losses(beats: list[Heartbeat]) -> Verdict:
    """What would lose messages though collecting goes on: at the broker, or by a setting."""
    running = [beat for beat in beats if beat.state != "stopped"]
    told = dict.fromkeys(f"{each['kind']}: {each['detail']}" for beat in running for each in beat.warnings)
    if told:
        return Verdict(False, " ".join(told))
    return Verdict(True, "nothing that the protocol or $SYS shows would lose messages")


def _trouble(beat: Heartbeat, wished: bool, *, now: datetime, down_after_s: float) -> str | None:
    silent_s = (now - beat.beat_at).total_seconds()
    if silent_s > down_after_s:
        return f"{beat.collector} (pid {beat.pid}) has not been heard of for {silent_s:.0f} s"
    in_order = not wished or (beat.connected and beat.state == "collecting")
    if in_order or (now - beat.since).total_seconds() <= down_after_s:
        return None
    return f"{beat.collector} is {beat.standing}" + (f": {beat.error}" if beat.error else "")


def figures(beats: list[Heartbeat], before: dict[str, list[Any]], *, now: datetime) -> dict[str, Any]:
    """Rates since the last report, lag and connection, over all collectors."""
    commits = [beat.last_commit_at for beat in beats if beat.last_commit_at is not None]
    return {
        "collectors": len(beats),
        "connected": sum(beat.connected for beat in beats),
        "state": ", ".join(f"{beat.collector}: {beat.standing}" for beat in beats),
        "messages_per_s": round(sum(_rate(beat, before.get(beat.collector)) for beat in beats), 2),
        "messages": sum(beat.messages for beat in beats),
        "redelivered": sum(beat.redelivered for beat in beats),
        "open_messages": sum(beat.open_messages for beat in beats),
        **({"since_last_commit_s": round((now - max(commits)).total_seconds(), 1)} if commits else {}),
        **({"error": error} if (error := "; ".join(beat.error for beat in beats if beat.error)) else {}),
    }


def mark(beat: Heartbeat) -> list[Any]:
    """What the next report needs of this one, for a cursor."""
    return [beat.pid, beat.beat_at.timestamp(), beat.messages]


def _rate(beat: Heartbeat, before: list[Any] | None) -> float:
    if before is None or before[0] != beat.pid:
        return 0.0  # another process counts from 0
    took_s = beat.beat_at.timestamp() - before[1]
    return max(beat.messages - before[2], 0) / took_s if took_s > 0 else 0.0
