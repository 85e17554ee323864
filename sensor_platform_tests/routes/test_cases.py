"""Cases as folders: what is read, what is written, and what is said of one that cannot be read."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.cases import find_cases, lines_of, read_case, write_case

AT = datetime(2026, 11, 23, 10, 0, 0, 5, tzinfo=UTC)
READING = {"ordinal": 0, "metric": "ä", "time": "2026-01-01T00:00:00.000000Z", "value": 1.5}
BECAME: dict[str, Any] = {"readings": [READING, READING], "refused": [{"ordinal": 2, "code": "missing_value"}]}


def write(root: Path, payload: bytes, became: dict[str, Any] = BECAME, *, retain: bool = False) -> Path:
    write_case(root / "one", topic="a/b", payload=payload, received_at=AT, retain=retain, became=became)
    return root / "one"


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (b'{"value": 1}', "message.json"),
        (b"", "message.txt"),
        ("21.5 °C\n".encode(), "message.txt"),
        (b"a\r\nb", "message.hex"),
        (b"\xff\x00", "message.hex"),
    ],
)
def test_a_case_keeps_the_bytes_of_its_message(tmp_path: Path, payload: bytes, name: str) -> None:
    folder = write(tmp_path, payload, retain=True)
    assert sorted(file.name for file in folder.iterdir()) == sorted([name, "case.json", "expected.json"])
    case = read_case(folder, root=tmp_path)
    assert (case.name, case.payload, case.topic) == ("one", payload, "a/b")
    assert (case.received_at, case.retain, case.error, case.expected) == (AT, True, None, BECAME)
    assert find_cases(tmp_path) == [folder]


def test_a_message_refused_as_a_whole_has_its_code_alone(tmp_path: Path) -> None:
    folder = write(tmp_path, b"x", {"readings": [], "refused": [{"ordinal": -1, "code": "invalid_json"}]})
    assert (folder / "error.txt").read_text() == "invalid_json\n"
    assert read_case(folder, root=tmp_path).error == "invalid_json"


def test_no_case_is_written_over(tmp_path: Path) -> None:
    write(tmp_path, b"1")
    with pytest.raises(FileExistsError):
        write(tmp_path, b"2")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("case.json", "{}", 'case.json: "topic" is missing'),
        ("case.json", "[]", "case.json: a JSON object is accepted only"),
        ("case.json", '{"topic": "a", "received_at": "noon"}', "received_at: 'noon' is not an ISO 8601 time"),
        ("expected.json", "{", "expected.json: not JSON"),
        ("message.hex", "0g", "2 files are called message"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_file(tmp_path: Path, name: str, content: str, why: str) -> None:
    folder = write(tmp_path, b"1")
    (folder / name).write_text(content)
    with pytest.raises(ConfigurationError, match=why):
        read_case(folder, root=tmp_path)


def test_a_case_without_an_expectation_says_so(tmp_path: Path) -> None:
    folder = write(tmp_path, b"1")
    (folder / "expected.json").unlink()
    with pytest.raises(ConfigurationError, match=r"one: neither expected\.json nor error\.txt says what is expected"):
        read_case(folder, root=tmp_path)


readings = st.lists(st.fixed_dictionaries({"metric": st.text(max_size=5), "value": st.integers() | st.none()}))


@given(readings, st.lists(st.fixed_dictionaries({"ordinal": st.integers()})), st.booleans())
def test_lines_are_the_same_json(found: list[Any], refused: list[Any], ignored: bool) -> None:
    became = {"readings": found, "refused": refused, **({"ignored": True} if ignored else {})}
    assert json.loads("\n".join(lines_of(became))) == became
