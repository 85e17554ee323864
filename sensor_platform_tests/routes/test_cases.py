"""Cases as folders: what is read, what is written, and what is said of one that cannot be read."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.cases import CaseMessage, find_cases, read_case, write_case
from sensor_platform.routes.expected import lines_of

AT = datetime(2026, 11, 23, 10, 0, 0, 5, tzinfo=UTC)
READING = {"ordinal": 0, "metric": "ä", "time": "2026-01-01T00:00:00.000000Z", "value": 1.5}
BECAME: dict[str, Any] = {"readings": [READING, READING], "refused": [{"ordinal": 2, "code": "missing_value"}]}


def write(root: Path, payload: bytes, became: dict[str, Any] = BECAME, *, retain: bool = False) -> Path:
    write_case(root / "one", CaseMessage("a/b", payload, AT, retain), became=became)
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
    assert (case.name, case.message) == ("one", CaseMessage("a/b", payload, AT, retain=True))
    assert (case.before, case.error, case.expected) == ((), None, BECAME)
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
        ("case.json", '{"topic": 5}', '"topic": 5 is not accepted, only a text'),
        ("case.json", '{"topic": "a", "retain": 1}', '"retain": 1 is not accepted, only true or false'),
        ("case.json", '{"topic": "a", "recieved_at": ""}', 'unknown key "recieved_at". Did you mean "received_at"'),
        ("case.json", '{"topic": "a", "before": {}}', '"before" is a list of messages'),
        ("case.json", '{"topic": "a", "before": [5]}', r"before\[0\]: 5 is not accepted, only an object"),
        ("case.json", '{"topic": "a", "before": [{}]}', r'before\[0\]: one of "text" and "hex" holds the payload'),
        ("case.json", '{"topic": "a", "before": [{"hex": "0g"}]}', r'case.json: before\[0\]: "hex": non-hexadecimal'),
        ("case.json", '{"topic": "a", "before": [{"text": "\\ud800"}]}', r'before\[0\]: "text": .*surrogates'),
        ("case.json", '{"topic": "a", "before": [{"text": "", "readings": []}]}', 'unknown key "readings"'),
        ("expected.json", "[" * 100_000, "expected.json: not JSON"),
        ("expected.json", '{"reading": []}', 'expected.json: unknown key "reading". Did you mean "readings"'),
        ("expected.json", '{"readings": {}}', "expected.json: readings: {} is not accepted, only a list of objects"),
        ("expected.json", '{"readings": [1.5]}', r"readings\[0\]: 1.5 is not accepted, only objects"),
        ("expected.json", '{"refused": null}', "refused: null is not accepted, only a list of objects with"),
        ("expected.json", '{"refused": ["no_birth"]}', r'refused\[0\]: "no_birth" is not accepted, only objects with'),
        ("expected.json", '{"refused": [{"ordinal": 0}]}', r'expected.json: refused\[0\]: "code" is missing: a code'),
        ("expected.json", '{"refused": [{"code": "x"}]}', r'refused\[0\]: "ordinal" is missing: a place'),
        (
            "expected.json",
            '{"refused": [{"ordinal": "0", "code": "x"}]}',
            '"ordinal": "0" is not accepted, only a place',
        ),
        ("expected.json", '{"ignored": "yes"}', '"ignored": "yes" is not accepted, only true or false'),
    ],
)
def test_what_cannot_be_read_is_said_with_its_file(tmp_path: Path, name: str, content: str, why: str) -> None:
    folder = write(tmp_path, b"1")
    (folder / name).write_text(content)
    with pytest.raises(ConfigurationError, match=why):
        read_case(folder, root=tmp_path)


def test_a_case_keeps_what_was_received_before_its_message(tmp_path: Path) -> None:
    before = [
        CaseMessage("a/birth", b"\x00\xff", AT - timedelta(hours=1)),
        CaseMessage("a/b", '{"é": 1}'.encode(), AT, retain=True),
    ]
    write_case(tmp_path / "one", CaseMessage("a/b", b"1", AT), became=BECAME, before=before)
    assert list(read_case(tmp_path / "one", root=tmp_path).before) == before


def test_what_messages_before_it_do_not_say_is_as_with_the_message(tmp_path: Path) -> None:
    folder = write(tmp_path, b"1")
    (folder / "case.json").write_text(
        '{"topic": "a/b", "received_at": "2026-01-02T00:00:00Z", "retain": true, "before": [{"text": "0"}]}'
    )
    (before,) = read_case(folder, root=tmp_path).before
    assert before == CaseMessage("a/b", b"0", datetime(2026, 1, 2, tzinfo=UTC))


def test_a_code_that_is_not_text_is_said_with_its_file(tmp_path: Path) -> None:
    folder = write(tmp_path, b"1")
    (folder / "error.txt").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"error\.txt: not UTF-8"):
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
