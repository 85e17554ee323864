"""Every folder of testcases/ is a case: see README.md there."""

import json
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

import pytest

from sensor_platform.pipeline.decode import DecodedMessages, decode, one_message
from sensor_platform.routes.file import parse_routes
from sensor_platform.transformers.contract import Quality
from sensor_platform.transformers.times import iso

ROOT = Path(__file__).parent
CASES = sorted(path.parent for path in ROOT.rglob("route.yaml"))
RECEIVED_AT = datetime(2026, 1, 1, tzinfo=UTC)
USUAL = {"work_unit": "line1", "sensor": "press"}  # as the captures become


def decode_case(folder: Path) -> DecodedMessages:
    routes = parse_routes((folder / "route.yaml").read_text(encoding="utf-8"))
    (route,) = routes
    topic = route.filter.replace("{work_unit}", "line1").replace("{sensor}", "press")
    (message,) = folder.glob("message.*")
    payload = bytes.fromhex(message.read_text("ascii")) if message.suffix == ".hex" else message.read_bytes()
    return decode(one_message(topic, payload, RECEIVED_AT), routes, max_payload_bytes=1_000_000)


def as_case(row: dict[Any, Any]) -> dict[str, Any]:
    """A reading as expected.json writes it."""
    text_alone = row["value"] != row["value"] and row["text"] is not None
    case = {name: row[name] for name in ("ordinal", "metric")} | {"time": iso(row["time"])}
    case["value"] = None if text_alone else row["value"] if isfinite(row["value"]) else str(row["value"])
    optional = {"text": row["text"], "unit": row["unit"], "timed_by_receipt": row["timed_by_receipt"] or None}
    quality = Quality(row["quality"])
    optional["quality"] = None if quality is Quality.GOOD else quality.name.lower()
    optional |= {name: row[name] for name, usual in USUAL.items() if row[name] != usual}
    return case | {name: entry for name, entry in optional.items() if entry is not None}


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: "/".join(folder.relative_to(ROOT).parts))
def test_a_case_decodes_as_its_folder_says(folder: Path) -> None:
    decoded = decode_case(folder)
    readings = decoded.readings.to_dict("records")
    refused = [(refusal.ordinal, refusal.code) for refusal in decoded.refusals]
    if (folder / "error.txt").exists():
        assert refused == [(-1, (folder / "error.txt").read_text("utf-8").strip())]
        assert readings == []
    else:
        expected = json.loads((folder / "expected.json").read_text("utf-8"))
        assert [as_case(row) for row in readings] == expected["readings"]
        assert refused == [(entry["ordinal"], entry["code"]) for entry in expected.get("refused", [])]


def test_there_are_cases_of_each_format_that_comes_along() -> None:
    formats = [folder.relative_to(ROOT).parts[0] for folder in CASES]
    assert formats.count("json") >= 30
    assert formats.count("csv") >= 12
    assert formats.count("binary") >= 15
    assert formats.count("modbus") >= 15
