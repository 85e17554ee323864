"""The live page in a real browser: what it shows, what it says when something is missing."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr

from sensor_platform.database.engine import Database
from sensor_platform.health.alerts import evaluate
from sensor_platform.health.rules import Condition
from sensor_platform.pipeline.process import process
from sensor_platform.settings import ApiSettings, MqttSettings, Settings
from sensor_platform_tests.api.served import TOKEN, Served, serve
from sensor_platform_tests.api.test_collecting import control
from sensor_platform_tests.browser.chromium import Chromium, find_chromium
from sensor_platform_tests.conftest import Broker, free_port, missing_tool
from sensor_platform_tests.health.test_figures import beat
from sensor_platform_tests.pipeline.staged import Message, stage, value
from sensor_platform_tests.waiting import wait_until

pytestmark = pytest.mark.browser


@pytest.fixture
def served(home: Path, database: Database, broker: Broker) -> Iterator[Served]:
    mqtt = MqttSettings(broker_url=broker.url, username=broker.username, password=SecretStr(broker.password))
    settings = Settings(home=home, database_url=SecretStr(database.url), mqtt=mqtt, api=ApiSettings(port=free_port()))
    with serve(settings) as running:
        yield running


@pytest.fixture
def browser() -> Iterator[Chromium]:
    if find_chromium() is None:
        missing_tool("chromium is not installed")
    with Chromium() as opened:
        yield opened


def shows(text: str) -> str:
    """JavaScript: whether a person can read it."""
    return f"document.body.innerText.includes({text!r})"


def test_the_page_shows_what_is_stored_and_what_arrives(
    served: Served, browser: Chromium, database: Database, tmp_path: Path
) -> None:
    context = served.context
    stage(context.staging, "c0-a-1", [value(1.5, unit="bar"), Message(b"{")])
    process(context.staging, database, context.routes, settings=context.settings)
    found = Condition("dead_letter_backlog", "platform", 7, 5, True, "7 dead letters are pending")
    evaluate(database, Settings(), now=datetime.now(UTC), figures=[], conditions=[found])
    beat(database, beat_at=datetime.now(UTC), messages=1234)
    browser.open(f"http://127.0.0.1:{served.port}/#token={TOKEN.replace(' ', '%20')}")
    for text in ("collector: collecting", "1.5", "bar", "invalid_json", "7 dead letters are pending", "1 firing"):
        browser.wait_for(shows(text))
    browser.wait_for("document.querySelector('[data-tile=letters]').classList.contains('bad')")
    browser.wait_for("document.getElementById('stream').classList.contains('good')")
    assert TOKEN not in browser.evaluate("location.href")
    body = {"topic": "factory/oven/sensors/o1/data", "payload": '{"metric": "heat", "value": 207.5, "unit": "K"}'}
    wait_until(lambda: served.context.bridge.health.subscribed, what="a live subscription")
    assert served.http.post("/api/mqtt/publish", json=body).status_code == 201
    for text in ("heat", "207.5", "K"):
        browser.wait_for(shows(text))
    picture = browser.screenshot(tmp_path / "live.png")
    assert picture.stat().st_size > 20_000


def test_the_button_stops_and_starts_collecting(served: Served, browser: Chromium, database: Database) -> None:
    beat(database, beat_at=datetime.now(UTC))
    browser.open(f"http://127.0.0.1:{served.port}/#token={TOKEN.replace(' ', '%20')}")
    button = "document.getElementById('switch')"
    for label, wish in (("Stop collecting", False), ("Start collecting", True)):
        browser.wait_for(f"{button}.textContent === {label!r} && !{button}.disabled")
        browser.evaluate(f"{button}.click()")
        wait_until(partial(_is_wished, database, wish), what="the wish in the control row")


def _is_wished(database: Database, wish: bool) -> bool:
    return [api_on for _, api_on, _ in control(database)] == [wish]


def test_the_page_says_what_is_wrong_with_the_token(served: Served, browser: Chromium) -> None:
    browser.open(f"http://127.0.0.1:{served.port}/")
    browser.wait_for(shows("This page needs its token"))
    browser.evaluate("location.hash = 'token=wrong'")
    browser.wait_for(shows("The token was not accepted"))
    browser.evaluate(f"document.getElementById('gate-token').value = {TOKEN!r}")
    browser.evaluate("document.getElementById('gate-open').click()")
    browser.wait_for(shows("Every message accounted for"))
    browser.wait_for("document.getElementById('stream').classList.contains('good')")


def test_the_page_goes_on_by_itself_after_a_new_start_of_the_api(
    home: Path, database: Database, broker: Broker, browser: Chromium
) -> None:
    mqtt = MqttSettings(broker_url=broker.url, username=broker.username, password=SecretStr(broker.password))
    settings = Settings(home=home, database_url=SecretStr(database.url), mqtt=mqtt, api=ApiSettings(port=free_port()))
    with serve(settings) as first:
        browser.open(f"http://127.0.0.1:{first.port}/#token={TOKEN.replace(' ', '%20')}")
        browser.wait_for("document.getElementById('stream').classList.contains('good')")
    browser.wait_for(shows("The API does not answer"))
    with serve(settings):
        browser.wait_for("document.getElementById('stream').classList.contains('good')", timeout_s=60)
        browser.wait_for(f"!{shows('The API does not answer')}")
