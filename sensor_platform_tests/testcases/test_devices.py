"""Recorded payloads of real devices through the ready-made routes: what each becomes is written in devices/*.yaml.

The payloads are read from the recorded data by file and line, since most of them may not be shipped.
"""

import json
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from ruamel.yaml import YAML

from sensor_platform.pipeline.decode import decode, one_message
from sensor_platform.routes.file import parse_routes
from sensor_platform.transformers.times import parse_time
from sensor_platform.validation.readings import validate

ROOT = Path(__file__).parent / "devices"
RECEIVED_AT = datetime(2026, 3, 1, tzinfo=UTC)
RECEIVED_US = 1_772_323_200_000_000
FILES = ("tasmota", "zigbee2mqtt", "ttn_v3", "misc")
EXPECTED: dict[str, list[dict[str, Any]]] = {
    name: YAML(typ="safe", pure=True).load((ROOT / f"{name}.yaml").read_text("utf-8")) for name in FILES
}
CASES = [(name, place) for name, cases in EXPECTED.items() for place in range(len(cases))]


@lru_cache(maxsize=len(FILES))
def decoded_lines(folder: Path, name: str) -> list[dict[str, Any]]:
    """What each line of a file becomes, in the terms of the expectations; readings by metric, in whatever order."""
    lines = [json.loads(line) for line in (folder / "devices" / f"{name}.jsonl").read_text("utf-8").splitlines()]
    messages = pa.concat_tables([one_message(each["topic"], each["payload"].encode(), RECEIVED_AT) for each in lines])
    routes = parse_routes((ROOT / "routes.yaml").read_text("utf-8"), folder=ROOT)
    decoded = decode(messages, routes, max_payload_bytes=1_000_000)
    none = pd.Series([None] * len(decoded.readings), index=decoded.readings.index, dtype=object)
    context = {"received_at": RECEIVED_US, "series_unit": none, "unit_problem": none}
    context |= {"minimum": np.nan, "maximum": np.nan}
    validated = validate(decoded.readings.assign(**context))
    found: list[dict[str, Any]] = [
        {"ignored": bool(ignored), "readings": [], "refused": []} for ignored in decoded.ignored
    ]
    for row in validated.accepted.to_dict("records"):
        found[row["message"]]["readings"].append(
            (f"{row['work_unit']}/{row['sensor']}", row["metric"], row["time"], row["value"], row["unit"])
        )
    for refusal in [*decoded.refusals, *validated.refusals]:
        found[refusal.message]["refused"].append(refusal.code)
    return [{**each, "readings": sorted(each["readings"])} for each in found]


def as_decoded(case: dict[str, Any]) -> dict[str, Any]:
    """An expectation, spelled out."""
    time = parse_time(case["time"]) if "time" in case else RECEIVED_US
    values = {
        metric: said if isinstance(said, list) else [said, None] for metric, said in case.get("readings", {}).items()
    }
    refused = case.get("refused", [])
    return {
        "ignored": case.get("ignored", False),
        "readings": sorted((case["of"], metric, time, value, unit) for metric, (value, unit) in values.items()),
        "refused": [refused] if isinstance(refused, str) else refused,
    }


@pytest.mark.parametrize(("name", "place"), CASES, ids=str)
def test_a_recorded_payload_becomes_what_stands_beside_it(name: str, place: int, recorded_data: Path) -> None:
    case = EXPECTED[name][place]
    assert decoded_lines(recorded_data, name)[case["line"] - 1] == as_decoded(case)


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_payload_is_expected_once(name: str, recorded_data: Path) -> None:
    lines = len(decoded_lines(recorded_data, name))
    assert [case["line"] for case in EXPECTED[name]] == list(range(1, lines + 1))


def test_an_expectation_says_something() -> None:
    assert all(case.keys() & {"readings", "refused", "ignored"} for cases in EXPECTED.values() for case in cases)
