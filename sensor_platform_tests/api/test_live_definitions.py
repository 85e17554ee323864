"""The live stream beside a database that does not say what was defined: others are shown, and it goes on by itself."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.process import process
from sensor_platform.settings import Settings
from sensor_platform_tests.api.served import Served, serve
from sensor_platform_tests.api.test_websocket import readings
from sensor_platform_tests.conftest import free_port
from sensor_platform_tests.pipeline.staged import Message, stage
from sensor_platform_tests.transformers.sparkplug import birth, data, metric
from sensor_platform_tests.waiting import wait_until

ROUTES = """
routes:
- {name: sparkplug, filter: 'spBv1.0/#', format: sparkplug}
- {name: spare, filter: 'spare/{work_unit}/{sensor}', format: json}
"""
NODE = "live-definitions/n"
BORN = birth(NODE, metric("force", 1, 10, double_value=0.0))
TOLD = data(NODE, metric(None, 1, None, double_value=5.0))
OTHER = ("spare/live-definitions/p", b'{"pressure": 7.0}')


@pytest.fixture
def served(settings: Settings, tmp_path: Path) -> Iterator[Served]:
    path = tmp_path / "routes.yaml"
    path.write_text(ROUTES, encoding="utf-8")
    api = settings.api.model_copy(update={"port": free_port(), "live_channels": "spBv1.0/#=all,spare/#=all"})
    with serve(settings.model_copy(update={"routes_file": path, "api": api})) as running:
        yield running


def publish(served: Served, *messages: tuple[str, bytes]) -> None:
    for topic, payload in messages:
        body = {"topic": topic, "payload_base64": b64encode(payload).decode()}
        assert served.http.post("/api/mqtt/publish", json=body).status_code == 201


def trouble(served: Served) -> Any:
    return served.http.get("/api/mqtt").json()["live"]["definitions_trouble"]


def test_a_database_that_does_not_say_what_was_defined_holds_up_nobody(served: Served, database: Database) -> None:
    context = served.context
    stage(context.staging, "c0-a-1", [Message(BORN[1], topic=BORN[0])])
    process(context.staging, database, context.routes, settings=context.settings)
    with served.socket("all") as socket:
        with psycopg.connect(database.url) as other:
            other.execute("LOCK TABLE sensor_platform.definition IN ACCESS EXCLUSIVE MODE")
            publish(served, TOLD, OTHER)
            assert [one["metric"] for one in readings(socket)] == ["pressure"]
            assert "the database has not answered yet" in trouble(served)
            publish(served, TOLD, OTHER)
            assert [one["metric"] for one in readings(socket)] == ["pressure"]
            other.rollback()
        wait_until(lambda: trouble(served) is None, "the answer")
        publish(served, TOLD)
        assert [(one["metric"], one["value"]) for one in readings(socket)] == [("force", 5.0)]
