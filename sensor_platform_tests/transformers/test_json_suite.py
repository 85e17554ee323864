"""JSONTestSuite: what is JSON is never refused as broken, what is none is a dead letter, and the rest is listed."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sensor_platform.errors import DEAD_LETTER_CODES
from sensor_platform_tests.testcases.test_testcases import ROOT
from sensor_platform_tests.transformers.decoding import codes, decode_payloads

LISTED: dict[str, list[str | float]] = YAML(typ="safe", pure=True).load(
    (ROOT / "jsontestsuite" / "implementation_defined.yaml").read_text("utf-8")
)
BROKEN = {"invalid_json", "invalid_encoding", "empty_payload"}


@pytest.fixture(scope="module")
def suite(recorded_data: Path) -> Path:
    return recorded_data / "jsontestsuite" / "test_parsing"


def outcome(payload: bytes, **route: Any) -> str | float:
    """The code of a payload that is refused as a whole, or the value of its one reading."""
    decoded = decode_payloads(payload, **route)
    found: list[str | float] = [code for _, _, code in codes(decoded)]
    found += decoded.readings["value"].tolist()
    assert len(found) == 1
    return found[0]


def test_no_file_of_json_is_refused_as_broken(suite: Path) -> None:
    files = sorted(suite.glob("y_*.json"))
    found = {file.name: {code for _, _, code in codes(decode_payloads(file.read_bytes()))} for file in files}
    assert len(found) == 95
    assert {name: told & BROKEN for name, told in found.items() if told & BROKEN} == {}


def test_every_file_that_is_no_json_is_a_dead_letter_with_a_code(suite: Path) -> None:
    files = sorted(suite.glob("n_*.json"))
    decoded = decode_payloads(*(file.read_bytes() for file in files))
    assert len(files) == 188
    assert decoded.readings.empty
    assert sorted(message for message, _, _ in codes(decoded)) == list(range(188))
    assert {code for _, _, code in codes(decoded)} <= DEAD_LETTER_CODES.keys() - {"transformer_failed"}


def test_what_a_parser_may_decide_is_as_listed(suite: Path) -> None:
    files = sorted(suite.glob("i_*.json"))
    each = {"options": {"each": "$[*]"}}
    found = {file.name: [outcome(file.read_bytes()), outcome(file.read_bytes(), **each)] for file in files}
    assert found == LISTED
