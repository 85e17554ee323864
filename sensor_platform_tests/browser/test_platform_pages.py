"""The pages of a running platform, as a person opens them: the live page, the lineage page, the page of a run."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sensor_platform.mqtt.publisher import Publisher
from sensor_platform_tests.browser.chromium import Chromium, find_chromium
from sensor_platform_tests.conftest import missing_tool
from sensor_platform_tests.platform_process import PlatformProcess

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: Dagster's UI is slow to draw on a busy machine of two cores.
DRAWN_WITHIN_S = 90


@pytest.fixture
def browser() -> Iterator[Chromium]:
    if find_chromium() is None:
        missing_tool("chromium is not installed")
    with Chromium(width=2500) as opened:
        yield opened


def shows(text: str) -> str:
    return f"document.body.innerText.includes({text!r})"


def publish(platform: PlatformProcess, sensor: str, count: int) -> None:
    topic = f"factory/pages/sensors/{sensor}/data"
    payloads = (json.dumps({"timestamp": time.time(), "value": n}).encode() for n in range(count))
    with Publisher(platform.settings) as publisher:
        assert publisher.publish_all((topic, payload) for payload in payloads).confirmed == count
    platform.wait_loaded(f"pages/{sensor}", count)


def test_the_live_page_has_nothing_to_complain_of(platform: PlatformProcess, browser: Chromium) -> None:
    publish(platform, "live", 20)
    running = platform.running
    token = Path(running["token_file"]).read_text(encoding="utf-8").strip()
    browser.open(f"{running['api_url'].rstrip('/')}/#token={token}")
    for text in ("collector: collecting", "live stream", "pages", "Lineage"):
        browser.wait_for(shows(text), timeout_s=DRAWN_WITHIN_S)
    assert "Not ready" not in browser.text()


def test_the_lineage_page_explains_itself(platform: PlatformProcess, browser: Chromium) -> None:
    publish(platform, "lineage", 5)
    dagster = platform.running["dagster_url"].rstrip("/")
    browser.open(f"{dagster}/assets/staged_messages?view=lineage&lineageScope=neighbors&lineageDepth=6")
    assets = ("mqtt_messages", "staged_messages", "readings", "dead_letters", "metrics_minute", "metrics_daily")
    for asset in assets:
        browser.wait_for(shows(asset), timeout_s=DRAWN_WITHIN_S)


def test_the_page_of_an_asset_shows_units_newest_rows_and_the_hours_figures(
    platform: PlatformProcess, browser: Chromium
) -> None:
    publish(platform, "overview", 5)
    dagster = platform.running["dagster_url"].rstrip("/")
    browser.open(f"{dagster}/assets/readings?view=overview")
    for text in ("in the unit of its series", "messages_staged", "pages/overview value", "run_micro_batches"):
        browser.wait_for(shows(text), timeout_s=DRAWN_WITHIN_S)


def test_the_launchpad_of_the_retry_is_filled_in(platform: PlatformProcess, browser: Chromium) -> None:
    dagster = platform.running["dagster_url"].rstrip("/")
    browser.open(f"{dagster}/locations/sensor_platform/jobs/dead_letter_retry_job/playground")
    for text in ("dry_run: false", "limit: 1000", "No errors"):
        browser.wait_for(shows(text), timeout_s=DRAWN_WITHIN_S)


def test_the_page_of_a_run_says_what_it_loaded(platform: PlatformProcess, browser: Chromium) -> None:
    publish(platform, "run", 5)
    ((run_id,),) = platform.rows("select run_id from sensor_platform.ledger order by committed_at desc limit 1")
    browser.open(f"{platform.running['dagster_url'].rstrip('/')}/runs/{run_id}")
    for text in ("process_readings_job", "Materialized value readings", "Success"):
        browser.wait_for(shows(text), timeout_s=DRAWN_WITHIN_S)
