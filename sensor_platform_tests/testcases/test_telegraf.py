"""Telegraf's cases of its JSON parser, and the odd payloads of its other tests: see telegraf.yaml."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sensor_platform.errors import DEAD_LETTER_CODES
from sensor_platform.transformers.mapping import DocumentOptions
from sensor_platform.transformers.numbers import read_number
from sensor_platform_tests.transformers.decoding import RECEIVED_US, codes, decode_payloads

CASES: dict[str, dict[str, Any]] = {
    str(name): case
    for name, case in YAML(typ="safe", pure=True)
    .load(Path(__file__).with_name("telegraf.yaml").read_text("utf-8"))
    .items()
}
EXPRESSED = [name for name, case in CASES.items() if "reason" not in case]

#: Of line protocol: what stands before the fields (spaces escaped), the fields, the time.
LINE = re.compile(r'(?:\\.|[^ \\])+ ((?:"(?:\\.|[^"\\])*"|[^ "])+)(?: (-?\d+))?')
FIELD = re.compile(r'([^=,]+)=("(?:\\.|[^"\\])*"|[^,]+)')

Field = tuple[str, Any, int]


def expected_fields(line: str, case: dict[str, Any]) -> set[Field]:
    found = LINE.fullmatch(line)
    assert found is not None
    time = case.get("time_ms", 0) * 1000 or (int(found[2]) // 1000 if found[2] else RECEIVED_US)
    time = RECEIVED_US if case.get("time") == "received" else time
    return {(name, field_value(raw), time) for name, raw in FIELD.findall(found[1])}


def field_value(raw: str) -> Any:
    if raw.startswith('"'):
        text = re.sub(r"\\(.)", r"\1", raw[1:-1])
        number = read_number(text)
        return text if number is None else number
    if raw in ("true", "false"):
        return float(raw == "true")
    return int(raw[:-1]) if raw[-1] in "iu" else float(raw)


def decoded_fields(payload: bytes, case: dict[str, Any]) -> set[Field]:
    decoded = decode_payloads(payload, text=case.get("text", False), options=case["options"])
    assert {code for _, _, code in codes(decoded)} <= {"no_readings"}
    rows = decoded.readings.to_dict("records")
    return {(row["metric"], _exact(row), row["time"]) for row in rows}


def _exact(row: dict[Any, Any]) -> Any:
    """The digits or the text where there are any, otherwise the number."""
    if row["text"] is None:
        return row["value"]
    return int(row["text"]) if row["value"] == row["value"] else row["text"]


@pytest.fixture(scope="module")
def json_v2(recorded_data: Path) -> Path:
    return recorded_data / "telegraf" / "json_v2"


@pytest.mark.parametrize("name", EXPRESSED)
def test_a_route_gives_the_fields_values_and_times_that_telegraf_expects(name: str, json_v2: Path) -> None:
    inputs = [path for path in (json_v2 / name).glob("*.json") if path.name != "benchmark.json"]
    lines = [line for line in (json_v2 / name / "expected.out").read_text("utf-8").splitlines() if line.strip()]
    expected = {field for line in lines for field in expected_fields(line, CASES[name])}
    assert {field for path in inputs for field in decoded_fields(path.read_bytes(), CASES[name])} == expected


def test_every_case_of_telegraf_has_a_route_or_a_reason(json_v2: Path) -> None:
    assert sorted(CASES) == sorted(folder.name for folder in json_v2.iterdir())
    assert all(case.keys() & {"reason", "options"} for case in CASES.values())
    assert all(DocumentOptions.model_validate(CASES[name]["options"]) for name in EXPRESSED)


#: File and line -> metrics and values, or the code, by the default rules of the format.
ODD: dict[tuple[str, int], dict[str, float] | str] = {
    ("json", 1): {"a": 5, "b.c": 6},
    ("json", 4): "invalid_json",  # white space alone
    ("json", 17): "not_an_object",  # [{"answer": 42}, 123], of which the first gets through
    ("json", 18): {"metric.time_idle": 42},
    ("json", 19): "no_readings",  # []
    ("json", 20): "not_an_object",
    ("json", 21): {"result.items_per_page": 10, "result.total_items": 0, "result.total_pages": 0},
    ("json", 23): "no_readings",
    ("json", 24): {"value": 42},
    ("value", 1): {"value": 55},
    ("value", 3): "value_not_number",
    ("value", 5): {"value": 1},
    ("value", 6): "value_not_number",  # 55 45 223 12 999
    ("value", 10): {"value": 64.2},
    ("value", 19): {"value": 55},  # and U+0000, which ends a text in C
    ("csv", 1): "invalid_csv",  # a row is wider than the header
    ("csv", 2): {"line1": 3.4, "line2": 70},
    ("csv", 8): {"line2": 70},  # "3,4" is a text
    ("csv", 22): "invalid_csv",  # a name is empty
    ("csv", 25): {"a": 1},  # an empty cell
    ("csv", 39): {"value": 200},  # of two rows, the later
}


@pytest.mark.parametrize("format_", ["json", "csv", "value"])
def test_odd_payloads_become_readings_or_a_reason(format_: str, recorded_data: Path) -> None:
    lines = (recorded_data / "telegraf" / f"{format_}.jsonl").read_text("utf-8").splitlines()
    decoded = decode_payloads(*(json.loads(line)["text"].encode() for line in lines), format_=format_)
    answered = {refusal.message for refusal in decoded.refusals} | set(decoded.readings["message"])
    assert answered == set(range(len(lines)))
    assert {code for _, _, code in codes(decoded)} <= DEAD_LETTER_CODES.keys() - {"transformer_failed"}
    for (name, line), said in ODD.items():
        if name == format_ and isinstance(said, str):
            assert {code for message, _, code in codes(decoded) if message == line - 1} == {said}, (name, line)
        elif name == format_:
            mine = decoded.readings[decoded.readings["message"] == line - 1]
            assert dict(zip(mine["metric"], mine["value"], strict=True)) == said, (name, line)
