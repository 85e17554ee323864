"""The benchmarks run, and say what they promise."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sensor_platform.embedded.broker import find_mosquitto

ROOT = Path(__file__).parents[1]
OTHERS = {"mosquitto_sub", "paho_grouped", "paho_each"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (find_mosquitto() and shutil.which("mosquitto_sub")), reason="mosquitto or mosquitto_sub is not installed"
    ),
]


@pytest.fixture(scope="module")
def report() -> Any:
    command = [sys.executable, "-m", "benchmarks.ingest", "--json", "--messages", "500", "--runs", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_ingest_tells_the_machine_and_the_publishers_own_rate(report: Any) -> None:
    assert {"cpu", "cores", "memory_gb", "filesystem", "fdatasync_ms", "load_1min", "mosquitto"} <= set(
        report["machine"]
    )
    assert report["conditions"] == {"messages": 500, "runs": 1, "payload_bytes": 150, "qos": 1, "fsync": True}
    assert report["publisher_alone"]["messages_per_s"] > 0


def test_ingest_has_the_figures_of_every_alternative(report: Any) -> None:
    everyone = {*OTHERS, "collector", "collector, sender only"}
    measured = {(each["subscriber"], each["protocol"]) for each in report["results"]}
    assert measured == {(name, protocol) for name in everyone for protocol in ("3.1.1", "5")}
    assert all(each["messages_per_s"] > 0 and each["cpu_us_per_message"] >= 0 for each in report["results"])


def test_ingest_has_every_ratio(report: Any) -> None:
    compared = {(each["collector_to"], each["protocol"]) for each in report["ratios"]}
    assert compared == {(name, protocol) for name in OTHERS for protocol in ("3.1.1", "5")}
    assert all(each["messages_per_s"] > 0 for each in report["ratios"])
