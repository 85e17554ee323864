"""The main job, end to end, on a running platform: from a published message to a row, a letter, a rollup, a trace."""

import base64
import errno
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from sensor_platform.database.engine import Database
from sensor_platform.mqtt.publisher import Publisher
from sensor_platform.pipeline.calibration import Calibration
from sensor_platform.pipeline.registry import set_sensor
from sensor_platform.staging.format import MicroBatch
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.platform_process import Load, PlatformProcess
from sensor_platform_tests.waiting import wait_until

pytestmark = pytest.mark.slow

HOUR = timedelta(hours=1)
MACHINE_TEMPERATURE = "nab/machine_temperature_system_failure.csv"


def publish(platform: PlatformProcess, messages: list[tuple[str, bytes]]) -> None:
    with Publisher(platform.settings) as publisher:
        published = publisher.publish_all(iter(messages))
    assert published.confirmed == len(messages)


def test_a_message_becomes_a_reading_that_can_be_traced_to_its_bytes(platform: PlatformProcess) -> None:
    payload = b'{"timestamp": "2026-01-02T03:04:05.678901Z", "metric": "level", "value": 21.5, "unit": "mm"}'
    publish(platform, [("factory/spine/sensors/traced/data", payload)])
    platform.wait_loaded("spine/traced", 1)
    assert platform.cli("metrics", "--sensor", "spine/traced") == [
        {
            "work_unit": "spine",
            "sensor": "traced",
            "metric": "level",
            "time": "2026-01-02T03:04:05.678901Z",
            "value": 21.5,
            "text": None,
            "unit": "mm",
            "quality": "good",
        }
    ]
    (found,) = platform.cli("trace", "spine/traced", "level", "2026-01-02T03:04:05.678901Z")
    assert base64.b64decode(found["payload_base64"]) == payload
    assert found["topic"] == "factory/spine/sensors/traced/data"
    # It may stay for a while, for what comes after.
    ended = "select true from public.runs where status = 'SUCCESS' and run_id = %s"
    wait_until(lambda: platform.rows(ended, found["run_id"]), timeout_s=120, what="the end of the run", every_s=1)


def test_rollups_follow_the_readings(platform: PlatformProcess) -> None:
    payloads = [
        json.dumps({"timestamp": f"2026-02-03T10:{minute:02}:00Z", "value": value}).encode()
        for minute, value in ((1, 2.0), (1, 4.0), (2, 9.0))
    ]
    publish(platform, [("factory/spine/sensors/rolled/data", payload) for payload in payloads])
    query = """
        select d.count, d.min, d.max, d.mean from sensor_platform.metrics_daily d
        join sensor_platform.series s on s.id = d.series
        join sensor_platform.sensor n on n.id = s.sensor_id where n.name = 'rolled'
    """
    rows = wait_until(lambda: platform.rows(query), timeout_s=90, what="a daily rollup", every_s=1)
    assert rows == [(3, 2.0, 9.0, 5.0)]


METADATA = """
query Metadata($partitions: [String!]) {
  assetOrError(assetKey: {path: ["readings"]}) { __typename
    ... on Asset { assetMaterializations(partitions: $partitions, limit: 20) {
      runId metadataEntries { label ... on IntMetadataEntry { intValue } }
    } }
  }
}
"""


RUNS_OF_BACKFILL = """
    select run_id, status from public.runs join public.run_tags using (run_id)
    where run_tags.key = 'dagster/backfill' and run_tags.value = %s
"""


def test_reprocess_changes_what_its_dry_run_foresaw_while_others_collect_and_retry(platform: PlatformProcess) -> None:
    readings = [b'{"timestamp": "2026-03-02T03:04:0%dZ", "value": %d, "unit": "bar"}' % (n, n + 1) for n in range(5)]
    publish(platform, [("factory/spine/sensors/again/data", payload) for payload in (*readings, b"rubbish")])
    platform.wait_loaded("spine/again", 5)
    (found,) = platform.cli("trace", "spine/again", "value", "2026-03-02T03:04:00Z")
    of_it = "select hour from sensor_platform.ledger where name = %s"
    ((hour,),) = platform.rows(of_it, found["micro_batch"])
    hours = ["--from", hour.isoformat(), "--to", (hour + timedelta(hours=1)).isoformat()]
    with Database(platform.running["database_url"]) as database:
        set_sensor(database, "spine/again", metric="value", calibration=Calibration(None, None, 2.0))
    load = Load(platform, "reprocess", rate=50)
    load.start()
    letters = [str(one["id"]) for one in platform.cli("dead-letters", "list", "--code", "invalid_json")]
    with ThreadPoolExecutor(1) as thread:
        tried = thread.submit(platform.cli, "dead-letters", "retry", *letters)
        would = platform.cli("reprocess", *hours, "--dry-run")["total"]
        launched = platform.cli("reprocess", *hours)
        assert {one["code"] for one in tried.result()} == {"invalid_json"}
    assert launched["partitions"] == [f"{hour.astimezone(UTC):%Y-%m-%d-%H:%M}"]
    # What comes meanwhile is added; nothing but the calibration changes or takes away.
    assert (would["changed"], would["removed"]) == (5, 0)

    def told() -> tuple[int, int] | None:
        """What the run changed and removed, once it tells."""
        made = platform.ask(METADATA, "assetOrError", partitions=launched["partitions"])["assetMaterializations"]
        (run,) = platform.rows(RUNS_OF_BACKFILL, launched["backfill"]) or [("none yet", "")]
        own = [one for one in made if one["runId"] == run[0]]
        by = {entry["label"]: entry.get("intValue") for one in own for entry in one["metadataEntries"]}
        is_told = "changed_readings_value" in by
        return (by["changed_readings_value"], by["changed_readings_removed"]) if is_told else None

    assert wait_until(told, timeout_s=180, what="the run to tell what it changed", every_s=1) == (5, 0)
    load.finish()
    values = platform.cli("metrics", "--sensor", "spine/again")
    assert [row["value"] for row in values] == [2, 4, 6, 8, 10]


def test_what_is_new_is_loaded_while_a_backfill_is_under_way(platform: PlatformProcess) -> None:
    """A named pipe in the place of a file that the backfill reads holds it up until somebody writes to it."""
    publish(platform, [("factory/spine/sensors/beside/data", b'{"timestamp": "2026-03-03T03:04:05Z", "value": 1}')])
    platform.wait_loaded("spine/beside", 1)
    (found,) = platform.cli("trace", "spine/beside", "value", "2026-03-03T03:04:05Z")
    ((hour,),) = platform.rows("select hour from sensor_platform.ledger where name = %s", found["micro_batch"])
    hour = hour.astimezone(UTC)
    path = LocalStaging(platform.home / "staging").path(MicroBatch(hour, found["micro_batch"]))
    kept = path.rename(path.with_suffix(".kept"))
    os.mkfifo(path)
    try:
        launched = platform.cli("reprocess", "--from", hour.isoformat(), "--to", (hour + HOUR).isoformat())

        def has(status: str) -> bool:
            return [found for _, found in platform.rows(RUNS_OF_BACKFILL, launched["backfill"])] == [status]

        wait_until(lambda: has("STARTED"), timeout_s=120, what="the backfill's run to start", every_s=0.5)
        publish(platform, [("factory/spine/sensors/beside/data", b'{"timestamp": "2026-03-03T03:04:06Z", "value": 2}')])
        platform.wait_loaded("spine/beside", 2)
        assert has("STARTED")
    finally:
        wait_until(lambda: is_opened(path), timeout_s=120, what="the backfill to read the pipe", every_s=0.5)
        kept.replace(path)
    # A pipe is no staged file: that is told, what it stood for stays as it is, and all else is made again.
    wait_until(lambda: has("SUCCESS"), timeout_s=120, what="the backfill's run to end", every_s=0.5)


def is_opened(pipe: Path) -> bool:
    """Whether somebody waits to read from it; who does goes on."""
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as err:
        if err.errno != errno.ENXIO:
            raise
        return False
    return True


POISON: dict[str, tuple[bytes, str]] = {
    "nan": (b'{"value": NaN}', "nan_not_allowed"),
    "huge_float": (b'{"value": 1e400}', "number_out_of_range"),
    "huge_integer": (b'{"value": 1180591620717411303424}', "number_out_of_range"),
    "nul": (b'{"value": 1, "unit": "a\\u0000b"}', "text_not_storable"),
    "surrogate": (b'{"value": 1, "unit": "\\ud800"}', "text_not_storable"),
    "deep": (b"[" * 100_000, "too_deep"),
    "empty": (b"", "empty_payload"),
    "zeros": (bytes(1_000_000), "invalid_json"),
    "invalid_utf8": (b'{"value": 1, "unit": "\xff\xfe"}', "invalid_encoding"),
}


def test_poison_becomes_dead_letters_and_its_neighbours_get_through(platform: PlatformProcess) -> None:
    before = {name: part["pid"] for name, part in platform.running["parts"].items()}
    messages = []
    for number, (name, (payload, _)) in enumerate(POISON.items()):
        good = json.dumps({"timestamp": time.time(), "value": number}).encode()
        messages += [("factory/poison/sensors/good/data", good), (f"factory/poison/sensors/{name}/data", payload)]
    publish(platform, messages)
    platform.wait_loaded("poison/good", len(POISON))
    query = """
        select split_part(convert_from(m.topic, 'UTF8'), '/', 4), d.code, m.payload
        from sensor_platform.dead_letter d join sensor_platform.dead_letter_message m using (micro_batch, sequence)
        where convert_from(m.topic, 'UTF8') like 'factory/poison/%%'
    """
    letters = wait_until(
        lambda: rows if len(rows := platform.rows(query)) >= len(POISON) else None, timeout_s=60, what="every letter"
    )
    assert {name: (bytes(payload), code) for name, code, payload in letters} == POISON
    values = platform.rows("select value from sensor_platform.reading where sensor = 'good' and work_unit = 'poison'")
    assert sorted(value for (value,) in values) == list(range(len(POISON)))
    assert {name: part["pid"] for name, part in platform.running["parts"].items()} == before


def test_replayed_twice_a_recording_is_there_once(platform: PlatformProcess, recorded_data: Path) -> None:
    import pandas as pd

    file = recorded_data / MACHINE_TEMPERATURE
    expected = pd.read_csv(file, parse_dates=["timestamp"])
    topic = "factory/nab/sensors/machine_temperature/data"
    query = """
        select count(*), sum(value), min(time), max(time) from sensor_platform.reading
        where work_unit = 'nab' and sensor = 'machine_temperature' and metric = 'value'
    """
    duplicates = "select coalesce(sum(duplicate), 0) from sensor_platform.ledger"
    first = platform.cli("replay", str(file), "--topic", topic, "--wait")
    assert first == {"published": 22695, "confirmed": 22695, "unmatched": 0}
    ((count, total, least, greatest),) = platform.rows(query)
    assert count == len(expected) == 22695
    assert total == pytest.approx(expected["value"].sum(), rel=1e-12)
    assert least == expected["timestamp"].min().tz_localize("UTC")
    assert greatest == expected["timestamp"].max().tz_localize("UTC")
    ((duplicates_before,),) = platform.rows(duplicates)
    platform.cli("replay", str(file), "--topic", topic, "--wait")
    assert platform.rows(query)[0] == (count, total, least, greatest)
    ((duplicates_after,),) = platform.rows(duplicates)
    assert duplicates_after - duplicates_before == 22695


def test_what_nobody_subscribes_to_is_an_error(platform: PlatformProcess) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "sensor_platform.cli", "publish", "elsewhere/topic", "1", "--json"]
    done = subprocess.run(command, env=platform.environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["unmatched"] == 1
