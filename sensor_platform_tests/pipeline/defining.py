"""A small format whose messages say something of later ones: `+name` names the readings of a device from there on, any
other text is a reading under that name.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from sensor_platform.database.engine import Database
from sensor_platform.routes.model import Route, Routes
from sensor_platform.staging.store import LocalStaging
from sensor_platform.transformers import registry
from sensor_platform.transformers.contract import READING_COLUMNS, Decoded, PayloadColumn, Refusal
from sensor_platform.transformers.definitions import Timeline
from sensor_platform_tests.pipeline.staged import HOUR, Message, rows, stage

ROUTES = Routes([Route(name="r", filter="factory/{work_unit}/sensors/{sensor}/data", format="defining")])
HOURS = [HOUR + timedelta(hours=number) for number in range(4)]


def decode_defining(column: PayloadColumn, _route: Route) -> Decoded:
    timeline = Timeline(column.definitions)
    readings: list[tuple[Any, ...]] = []
    refusals = []
    for message, payload in enumerate(column.payloads):
        sensor, text = column.captures[message]["sensor"], payload.decode()
        if text == "raise" and len(column) > 1:
            raise RuntimeError(text)
        if text.startswith("+"):
            timeline.define(message, sensor, {"name": text[1:]})
            continue
        content = timeline.latest(sensor, message)
        if content is None:
            refusals.append(Refusal(message, -1, "invalid_frame", "nothing is known of it"))
            continue
        value = float(len(text))
        at = int(column.received_at[message])
        readings.append((message, 0, "press", sensor, content["name"], at, False, value, text, None, 0))
    frame = pd.DataFrame(readings, columns=list(READING_COLUMNS)).astype({"text": object, "unit": object})
    return Decoded(frame, refusals, timeline.found)


def register(
    monkeypatch: pytest.MonkeyPatch,
    decode: Callable[[PayloadColumn, Route], Decoded] = decode_defining,
    *,
    version: str = "1",
) -> None:
    """`format: defining` in this test."""
    monkeypatch.setitem(registry._registered, "defining", registry.Registered("defining", version, decode))


def say(*texts: str, sensor: str = "p1") -> list[Message]:
    return [Message(text.encode(), topic=f"factory/press/sensors/{sensor}/data") for text in texts]


def told(database: Database) -> list[tuple[str, str]]:
    """(metric, text) by time."""
    query = "SELECT series.metric, text FROM metric JOIN series ON series.id = metric.series ORDER BY time, ordinal"
    return [(name, text) for name, text in rows(database, query)]


def staged_at(staging: LocalStaging, number: int, *texts: str, at: datetime | None = None) -> None:
    stage(staging, f"a-{number}", say(*texts), hour=HOURS[number], first_sequence=100 * number, received_at=at)
