"""The examples run as they stand."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.registry import import_registry, list_work_units
from sensor_platform.simulator.recording import Recording
from sensor_platform_tests.conftest import Broker

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_build_your_own_collects_and_decodes_its_own_format(broker: Broker, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "MQTT_BROKER_URL": broker.url,
        "MQTT_USERNAME": broker.username,
        "MQTT_PASSWORD": broker.password,
    }
    command = [sys.executable, "-W", "error", str(EXAMPLES / "build_your_own.py"), str(tmp_path / "a home")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "Published(published=3, confirmed=3, unmatched=0)" in done.stdout
    assert "collecting: 3 messages" in done.stdout
    assert ["press-shop", "press-1", "force", "812.50", "kN"] in [line.split() for line in done.stdout.splitlines()]
    assert ["press-shop", "press-2", "force", "790.25", "kN"] in [line.split() for line in done.stdout.splitlines()]
    assert "refused: decode, transformer_failed" in done.stdout


def test_the_extract_is_the_recording_unchanged_and_has_its_licence(recorded_data: Path) -> None:
    whole = (recorded_data / "nab" / "machine_temperature_system_failure.csv").read_text("utf-8").splitlines()
    header, *rows = (EXAMPLES / "nab_machine_temperature_extract.csv").read_text("utf-8").splitlines()
    start = whole.index(rows[0])
    assert (header, rows) == (whole[0], whole[start : start + 180])
    licence = (EXAMPLES / "nab_LICENSE.txt").read_bytes()
    original = (recorded_data / "nab" / "LICENSE.txt").read_bytes()
    assert hashlib.sha256(licence).digest() == hashlib.sha256(original).digest()


def test_the_extract_can_be_replayed() -> None:
    with Recording(EXAMPLES / "nab_machine_temperature_extract.csv") as recording:
        rows = list(recording)
    assert len(rows) == 180
    assert recording.texts == 0


def test_the_registry_can_be_imported(database: Database) -> None:
    imported = import_registry(database, EXAMPLES / "registry.yaml", by="a test")
    assert len(imported.changes) == 7
    assert [row["path"] for row in list_work_units(database)][-1] == "acme / springfield / hall-1 / line-1 / nab"
