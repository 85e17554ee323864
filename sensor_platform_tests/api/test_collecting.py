"""Status, start and stop, publishing, and what is said when a part is away."""

import base64
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import collector_control
from sensor_platform.settings import MqttSettings, Settings
from sensor_platform_tests.api.served import Served, serve
from sensor_platform_tests.conftest import free_port
from sensor_platform_tests.health.test_figures import beat, load


def control(database: Database) -> list[tuple[bool, bool, str | None]]:
    columns = collector_control.c
    with database.connect() as connection:
        rows = connection.execute(sa.select(columns.sensor_on, columns.api_on, columns.changed_by))
        return [tuple(row) for row in rows]


def test_the_status_has_wishes_collectors_and_every_message(served: Served, database: Database) -> None:
    beat(database, messages=12)
    load(database, staged=12, accepted=9, partial=1, dead_lettered=2, decoded=11, inserted=10, refused=1)
    now = served.http.get("/api/mqtt").json()
    assert now["wishes"] == {"sensor_on": True, "api_on": True, "changed_at": None, "changed_by": None}
    assert [(c["collector"], c["state"], c["messages"]) for c in now["collectors"]] == [("c1", "collecting", 12)]
    assert now["messages"] == {
        "staged": 12,
        "accepted": 9,
        "partial": 1,
        "dead_lettered": 2,
        "duplicate": 0,
        "ignored": 0,
        "pending_micro_batches": 0,
    }
    assert now["readings"] == {"decoded": 11, "inserted": 10, "duplicate": 0, "refused": 1, "thinned": 0, "expired": 0}
    assert (now["alerts_firing"], now["dagster_url"]) == (0, None)


def test_stop_and_start_are_wishes_in_the_control_row(served: Served, database: Database) -> None:
    assert served.http.request("DELETE", "/api/mqtt").json()["wishes"]["api_on"] is False
    assert control(database) == [(True, False, "api")]
    assert served.http.post("/api/mqtt").json()["wishes"]["api_on"] is True
    assert control(database) == [(True, True, "api")]


def test_a_start_while_the_sensor_is_off_is_refused_and_changes_nothing(served: Served, database: Database) -> None:
    with database.begin() as connection:
        row = {"sensor_on": False, "api_on": False, "changed_by": "mqtt_sensor switched off"}
        connection.execute(sa.insert(collector_control).values(row))
    answer = served.http.post("/api/mqtt")
    assert answer.status_code == 409
    assert answer.json()["error"] == {
        "what": "mqtt_sensor is switched off in Dagster, and collecting needs both wishes",
        "where": "/api/mqtt",
        "do": "switch mqtt_sensor on in the Dagster UI (Automation), then start again",
    }
    assert control(database) == [(False, False, "mqtt_sensor switched off")]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"topic": "a"}, "give payload or payload_base64, and not both"),
        ({"topic": "a", "payload": "x", "payload_base64": "eA=="}, "give payload or payload_base64, and not both"),
        ({"topic": "a", "payload_base64": "?"}, "payload_base64: "),
        ({"topic": "a/+", "payload": "x"}, "topic: no wildcard"),
        ({"topic": "", "payload": "x"}, "topic: "),
        ({"topic": "a", "payload": "x", "qos": 3}, "qos: "),
        ({"topic": "a", "payload": "x", "retained": True}, "retained: "),
    ],
)
def test_a_message_that_cannot_be_published_is_refused_with_its_reason(
    served: Served, body: dict[str, Any], what: str
) -> None:
    answer = served.http.post("/api/mqtt/publish", json=body)
    assert answer.status_code == 422
    assert what in answer.json()["error"]["what"]


def test_a_message_that_nobody_would_keep_is_refused(served: Served) -> None:
    answer = served.http.post("/api/mqtt/publish", json={"topic": "nobody/listens/here", "payload": "x"})
    assert answer.status_code == 409
    assert "nobody/listens/here" in answer.json()["error"]["what"]


def test_bytes_that_are_not_text_are_published_as_base64(served: Served) -> None:
    payload = b'{"value": 1, "metric": "\xc3\xa4"}'
    body = {"topic": "factory/api/sensors/b64/data", "payload_base64": base64.b64encode(payload).decode()}
    with served.socket("api/b64") as socket:
        answer = served.http.post("/api/mqtt/publish", json=body)
        assert answer.status_code == 201
        assert answer.json() == {"topic": body["topic"], "bytes": len(payload), "qos": 1, "confirmed": True}
        assert '"metric":"ä"' in str(socket.recv(10))


def test_a_broker_that_is_away_is_said(settings: Settings) -> None:
    away = settings.model_copy(update={"mqtt": MqttSettings(broker_url=f"mqtt://127.0.0.1:{free_port()}")})
    with serve(away) as served:
        answer = served.http.post("/api/mqtt/publish", json={"topic": "a", "payload": "x"})
        assert answer.status_code == 502
        assert "no connection" in answer.json()["error"]["what"]
        health = served.http.get("/api/mqtt/health")
        assert (health.status_code, health.json()["parts"]["broker"]) == (503, "does not answer")


def test_a_database_that_is_away_is_said_and_shows_no_password(settings: Settings) -> None:
    url = f"postgresql://u:geheim@127.0.0.1:{free_port()}/d"
    with serve(settings.model_copy(update={"database_url": SecretStr(url)})) as served:
        answer = served.http.get("/api/mqtt")
        assert answer.status_code == 503
        assert answer.json()["error"]["do"] == "look at PostgreSQL, then try again"
        assert "geheim" not in answer.text
        health = served.http.get("/api/mqtt/health")
        assert health.status_code == 503
        assert health.json()["parts"]["database"] == "does not answer"
        assert "<title>" in served.http.get("/").text


def test_an_unknown_path_is_said_in_the_same_form(served: Served) -> None:
    answer = served.http.get("/api/nothing")
    assert answer.status_code == 404
    assert answer.json()["error"]["where"] == "/api/nothing"
