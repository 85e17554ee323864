"""The benchmarks run, and say what they promise."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sensor_platform.embedded.broker import find_mosquitto
from sensor_platform_tests.conftest import missing_tool

ROOT = Path(__file__).parents[1]
OTHERS = {"mosquitto_sub", "paho_grouped", "paho_each"}
BOTH = ("3.1.1", "5")

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True, scope="module")
def _tools() -> None:
    if not (find_mosquitto() and shutil.which("mosquitto_sub")):
        missing_tool("mosquitto or mosquitto_sub is not installed")


def benchmark(name: str, *options: str) -> Any:
    """The JSON value of `python -m benchmarks.NAME --quick`."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", "--quick", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {"cpu", "cores", "memory_gb", "filesystem", "fdatasync_ms", "load_1min", "mosquitto"} <= set(
        report["machine"]
    )
    return report


@pytest.fixture(scope="module")
def report() -> Any:
    return benchmark("ingest", "--without-pathway", "--only", "comparison", "--only", "alone")


def test_ingest_has_the_figures_of_every_alternative(report: Any) -> None:
    expected = {
        (part, name, protocol)
        for part in ("comparison", "alone")
        for name in {*OTHERS, "collector"}
        for protocol in BOTH
    }
    expected |= {("comparison", "nobody", "3.1.1")}  # the publisher's own ceiling
    assert {(each["part"], each["subscriber"], each["protocol"]) for each in report["results"]} == expected
    assert all(each["messages_per_s"] > 0 for each in report["results"])
    assert report["conditions"] == {"messages": 2000, "rounds": 1, "payload_bytes": 150, "qos": 1, "fsync": True}


def test_ingest_holds_every_figure_beside_its_target(report: Any) -> None:
    of = {(each["figure"], each["protocol"]): each for each in report["verdicts"]}
    for protocol in BOTH:
        targets = {figure: each["target"] for (figure, of_protocol), each in of.items() if of_protocol == protocol}
        assert targets == {
            "messages_per_s, collector / mosquitto_sub": ">= 1.1",
            "cpu_us_per_message, collector / mosquitto_sub": "<= 1.2",
            "messages_per_s, collector / paho_each": ">= 5.0",
            "cpu_us_per_message, collector / paho_each": None,
            "messages_per_s, collector / paho_grouped": ">= 3.0",
            "cpu_us_per_message, collector / paho_grouped": None,
            "messages_per_s, alone": ">= 200000",
            "messages_per_s, alone, collector / mosquitto_sub": None,
            "messages_per_s, alone, collector / paho_grouped": None,
            "messages_per_s, alone, collector / paho_each": None,
        }
    assert all((each["holds"] is None) == (each["target"] is None or each["value"] is None) for each in of.values())


def test_ingest_says_why_pathway_is_not_there(report: Any) -> None:
    assert report["pathway"] == {"unavailable": "not asked for"}


def test_ingest_shares_a_subscription_between_workers_and_speaks_tls() -> None:
    measured = benchmark("ingest", "--only", "workers", "--only", "tls")["results"]
    assert [(each["part"], each["subscriber"], each["protocol"], each["workers"]) for each in measured] == [
        ("workers", "collector", "3.1.1", 2),
        ("workers", "collector", "5", 2),
        ("tls", "collector", "3.1.1", 1),
        ("tls", "mosquitto_sub", "3.1.1", 1),
        ("tls", "collector", "5", 1),
        ("tls", "mosquitto_sub", "5", 1),
    ]


def test_memory_looks_at_the_collector_while_it_flows_and_while_nothing_can_be_written() -> None:
    report = benchmark("memory")
    assert report["flow"]["rss_mb"]["warm"] > 0
    assert report["stall"]["staged_while_stalled"] < 1000  # of 3,000; what was on its way when the limit was set
    assert set(report["stall"]["rss_mb"]) == {"before", "during", "after"}


def test_broker_keeps_every_message_with_our_configuration() -> None:
    results = benchmark("broker")["results"]
    assert {name: each["kept"] for name, each in results.items()} == {
        "stock": 0.5,  # max_queued_messages 1000
        "deploy/mosquitto.conf": 1.0,
        "on_changes": 1.0,
    }


def test_storage_says_what_a_message_and_a_reading_take() -> None:
    report = benchmark("storage")
    assert set(report["bytes_per_staged_message"]) == {"publisher", "plant", "noisy"}
    assert all(each["after"] < each["before"] for each in report["bytes_per_staged_message"].values())
    assert report["bytes_per_reading"]["readings"] == 12_000
    assert set(report["bytes_per_reading"]["indexes"]) == {"btree", "brin"}
    assert {name: each["target"] for name, each in report["verdicts"].items()} == {
        "bytes_per_staged_message": 40,
        "bytes_per_reading": 100,
    }


def test_pipeline_measures_itself_beside_raw_copy_and_the_obvious_script() -> None:
    report = benchmark("pipeline")
    assert set(report["readings_per_s"]["small"]) == {"ours", "copy", "run", "script"}
    assert set(report["seconds_of_ours"]) == {"read", "decode", "validate", "load", "ledger", "dagster", "all"}
    assert {name: each["target"] for name, each in report["ratios"].items()} == {
        "readings_per_s": 150_000,
        "ours_of_copy": 0.5,
        "ours_of_script": 5.0,
    }


def test_a_backfill_is_the_same_and_no_reader_sees_it() -> None:
    report = benchmark("backfill")
    holds = {each["figure"]: each["holds"] for each in report["verdicts"]}
    assert holds["the same after a backfill"]
    assert holds["the same after a kill and a resume"]
    assert holds["readers that saw a row missing or doubled"]
    assert report["looks"] > 0
    assert report["readings"] == 4 * 20_000 * 2 * 0.96
    assert [int(report["checksums"][table][0]) for table in ("dead_letter", "metric_duplicate")] == [1600, 3200]


def test_freshness_is_measured_with_runs_that_stay_and_runs_that_end() -> None:
    results = benchmark("freshness")["results"]
    assert set(results) == {"default", "runs that end"}
    assert all(figures["p95_s"] >= figures["p50_s"] > 0 for figures in results.values())
    assert all(figures["runs_per_minute"] > 0 for figures in results.values())


def test_scale_measures_a_tick_of_every_sensor() -> None:
    report = benchmark("scale")
    assert {"micro_batch_sensor", "staged_messages_sensor", "rollup_sensor", "alert_sensor"} <= set(report["tick_s"])
    assert {each["target"] for each in report["verdicts"]} == {"<= 2.0"}
