"""Dead letters over HTTP: pages and filters, discard with a reason, retry and its dry run."""

import base64
from dataclasses import replace

import pytest

from sensor_platform.pipeline.process import process
from sensor_platform.settings import Settings
from sensor_platform_tests.api.served import Served
from sensor_platform_tests.pipeline.staged import Message, rows, stage, value

PATH = "/api/mqtt/deadletter"


@pytest.fixture
def refused(served: Served, settings: Settings) -> list[int]:
    """Ids of three dead letters, the newest first: a topic without a route, broken JSON, text for a value."""
    context = served.context
    messages = [value("jammed"), Message(b"{"), replace(value(1), topic="elsewhere/data"), value(2)]
    stage(context.staging, "c0-a-1", messages)
    process(context.staging, context.database, context.routes, settings=settings)
    return [letter["id"] for letter in served.http.get(PATH).json()["dead_letters"]]


def codes(served: Served, **filters: object) -> list[str]:
    answer = served.http.get(PATH, params=filters)  # type: ignore[arg-type]
    return [letter["code"] for letter in answer.json()["dead_letters"]]


def test_letters_are_listed_with_their_bytes_page_by_page(served: Served, refused: list[int]) -> None:
    assert sorted(codes(served)) == ["invalid_json", "no_route", "value_not_number"]
    assert codes(served, code="invalid_json") == ["invalid_json"]
    assert sorted(codes(served, stage="decode")) == ["invalid_json", "value_not_number"]
    assert sorted(codes(served, code=["invalid_json", "no_route"])) == ["invalid_json", "no_route"]
    assert codes(served, state="resolved") == []
    first = served.http.get(PATH, params={"limit": 2}).json()
    second = served.http.get(PATH, params={"limit": 2, "after": first["next"]}).json()
    assert [letter["id"] for letter in first["dead_letters"] + second["dead_letters"]] == refused
    assert (second["next"], second["counts"]["pending"]) == (None, 3)
    (broken,) = served.http.get(PATH, params={"code": "invalid_json"}).json()["dead_letters"]
    assert base64.b64decode(broken["payload_base64"]) == b"{"
    assert served.http.get(PATH, params={"state": "lost"}).status_code == 422


def test_discarding_says_why_and_keeps_the_bytes(served: Served, refused: list[int]) -> None:
    body = {"ids": refused[:2], "why": "a test publisher"}
    assert served.http.request("DELETE", PATH, json=body).json() == {"discarded": 2}
    query = "select state, closed_by, closed_why from sensor_platform.dead_letter where state <> 'pending'"
    assert rows(served.context.database, query) == [("discarded", "api", "a test publisher")] * 2
    assert rows(served.context.database, "select count(*) from sensor_platform.dead_letter_message") == [(3,)]
    again = served.http.request("DELETE", PATH, json=body)
    assert again.status_code == 409
    assert "is discarded and cannot become discarded" in again.json()["error"]["what"]


def test_an_unknown_letter_changes_nothing(served: Served, refused: list[int]) -> None:
    answer = served.http.request("DELETE", PATH, json={"ids": [refused[0], 999_999], "why": "x"})
    assert (answer.status_code, answer.json()["error"]["what"].split(";")[0]) == (404, "there is no dead letter 999999")
    assert served.http.get(PATH).json()["counts"]["pending"] == 3
    assert served.http.request("DELETE", PATH, json={"ids": refused}).status_code == 422


def test_a_dry_run_of_a_retry_changes_nothing_and_a_retry_counts_an_attempt(served: Served, refused: list[int]) -> None:
    body = {"ids": refused, "dry_run": True}
    assert served.http.post(f"{PATH}/retry", json=body).json()["letters"] == 3
    attempts = "select distinct attempts from sensor_platform.dead_letter"
    assert rows(served.context.database, attempts) == [(0,)]
    report = served.http.post(f"{PATH}/retry", json={"ids": refused}).json()
    assert (report["letters"], report["states"]) == (3, {"pending": 3})
    assert rows(served.context.database, attempts) == [(1,)]


def test_a_retry_with_a_mended_route_brings_the_readings_in(served: Served, refused: list[int]) -> None:
    # As after an edit of the route file and a new start of the API.
    mended = [replace(route, text=True) for route in served.context.routes]
    routes = type(served.context.routes)(mended)
    served.app.state.context = replace(served.context, routes=routes)
    report = served.http.post(f"{PATH}/retry", json={"ids": refused}).json()
    assert (report["inserted"], report["states"]) == (1, {"pending": 2, "resolved": 1})
    (row,) = [r for r in served.http.get("/api/readings").json() if r["text"]]
    assert row["text"] == "jammed"
