"""Recorded data as messages: the digits of the file, its order, and errors that name line and column."""

import json
import time
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from sensor_platform.simulator.recording import Recording, RecordingError, Row, paced


def rows_of(path: Path, text: str, **options: object) -> list[Row]:
    path.write_text(text, encoding="utf-8")
    with Recording(path, **options) as recording:  # type: ignore[arg-type]
        return list(recording)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recording.csv"


def test_a_row_becomes_one_message_with_the_digits_of_the_file(file: Path) -> None:
    text = "timestamp,value,b\n2013-12-02 21:15:00,74.93588199999998,0.10\n2013-12-02 21:20:00,1E3,\n"
    assert [row.payload for row in rows_of(file, text)] == [
        b'{"timestamp": "2013-12-02T21:15:00Z", "metrics": {"value": 74.93588199999998, "b": 0.10}}',
        b'{"timestamp": "2013-12-02T21:20:00Z", "metrics": {"value": 1E3}}',
    ]


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("+1.5", "1.5"),
        (".5", "0.5"),
        ("-.5e-3", "-0.5e-3"),
        ("1.", "1"),
        ("007.250", "7.250"),
        ("-0", "-0"),
        ("12345678901234567890", "12345678901234567890"),
    ],
)
def test_numbers_that_json_writes_differently_keep_value_and_digits(file: Path, cell: str, written: str) -> None:
    (row,) = rows_of(file, f"time,v\n2020-01-01,{cell}\n")
    assert row.payload == b'{"timestamp": "2020-01-01T00:00:00Z", "metrics": {"v": %s}}' % written.encode()
    assert json.loads(row.payload, parse_float=Decimal, parse_int=Decimal)["metrics"]["v"] == Decimal(cell)


@pytest.mark.parametrize("cell", ["nan", "running", "1,5", "0x1F", "1_000", "-", ".", "inf"])
def test_a_cell_that_is_no_number_is_sent_as_text_and_counted(file: Path, cell: str) -> None:
    file.write_text(f"time;v\n2020-01-01;{cell}\n", encoding="utf-8")
    with Recording(file) as recording:
        (row,) = recording
    assert json.loads(row.payload)["metrics"] == {"v": cell}
    assert recording.texts == 1
    assert recording.first_text == f'line 2, column "v": {cell}'


@pytest.mark.parametrize(
    ("header", "time_column"),
    [("a,Timestamp,time", None), ("ts,datetime", None), ("date;x", None), ("ts,when", "when")],
)
def test_the_time_column_is_the_first_known_name_or_the_one_asked_for(
    file: Path, header: str, time_column: str | None
) -> None:
    delimiter = ";" if ";" in header else ","
    names = header.split(delimiter)
    expected = time_column or {"a": "Timestamp", "ts": "datetime", "date": "date"}[names[0]]
    cells = ["2020-05-06T07:08:09+02:00" if name == expected else "1" for name in names]
    (row,) = rows_of(file, f"{header}\n{delimiter.join(cells)}\n", time_column=time_column)
    message = json.loads(row.payload)
    assert message["timestamp"] == "2020-05-06T05:08:09Z"
    assert list(message["metrics"]) == [name for name in names if name != expected]


@pytest.mark.parametrize(
    ("cell", "stamp"),
    [
        ("1385000000", "2013-11-21T02:13:20Z"),
        ("1385000000.25", "2013-11-21T02:13:20.250000Z"),
        ("1385000000123", "2013-11-21T02:13:20.123000Z"),
        ("1385000000123456", "2013-11-21T02:13:20.123456Z"),
        ("1385000000123456789", "2013-11-21T02:13:20.123456Z"),
        ("20131121", "2013-11-21T00:00:00Z"),
    ],
)
def test_numbers_as_times_are_read_by_their_size(file: Path, cell: str, stamp: str) -> None:
    (row,) = rows_of(file, f"ts,v\n{cell},1\n")
    assert json.loads(row.payload)["timestamp"] == stamp


def test_excluded_columns_are_no_metrics(file: Path) -> None:
    (row,) = rows_of(file, "time,a,label,b\n2020-01-01,1,x,2\n", exclude=("label", "b"))
    assert json.loads(row.payload)["metrics"] == {"a": 1}


def test_a_byte_order_mark_and_quotes_are_no_part_of_names(file: Path) -> None:
    file.write_bytes('\ufefftime,"flow, l/min"\r\n2020-01-01,"3"\r\n'.encode())
    with Recording(file) as recording:
        assert [json.loads(row.payload)["metrics"] for row in recording] == [{"flow, l/min": 3}]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\n1,2\n", {}, r"recording\.csv:1: no time column among: a, b\. Name it with --time-column\."),
        ("", {}, r"recording\.csv:1: no time column among: \(an empty file\)"),
        ("time,b\n1,2\n", {"time_column": "when"}, r'no column "when" among: time, b'),
        ("time,b\n2020-01-01,2\n12/31/2020,3\n", {}, r'recording\.csv:3: column "time": "12/31/2020" is not a time'),
        ("time,b\n2020-01-01,2,3\n", {}, r"recording\.csv:2: 3 cells, the header has 2"),
        ("time,b,b\n2020-01-01,2,3\n", {}, r"columns named twice"),
        ("time\n2020-01-01\n", {}, r"no column besides the time"),
        ("time,b\n", {"exclude": ("c",)}, r"no column c to exclude"),
        ('time,b\n2020-01-01,"2\n', {}, r"recording\.csv:2: not CSV"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(
    file: Path, text: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(RecordingError, match=message):
        rows_of(file, text, **options)


def test_bytes_that_are_not_utf_8_are_said(file: Path) -> None:
    file.write_bytes(b"time,b\n2020-01-01,\xff\n")
    with Recording(file) as recording, pytest.raises(RecordingError, match="iconv"):
        list(recording)


def test_recorded_time_is_kept_and_a_step_back_takes_none(file: Path) -> None:
    text = "time,v\n2020-01-01T00:00:00,1\n2020-01-01T00:00:10,2\n2020-01-01T00:00:00,3\n2020-01-01T00:00:10,4\n"
    rows = rows_of(file, text)
    started = time.monotonic()
    assert list(paced(iter(rows), speed=100)) == rows
    assert 0.2 <= time.monotonic() - started < 5
    started = time.monotonic()
    assert list(paced(iter(rows), speed=None)) == rows
    assert time.monotonic() - started < 0.1


def test_the_machine_temperature_recording_keeps_every_row_and_value(recorded_data: Path) -> None:
    file = recorded_data / "nab" / "machine_temperature_system_failure.csv"
    with Recording(file) as recording:
        messages = [json.loads(row.payload) for row in recording]
    assert len(messages) == 22_695
    assert sum(message["metrics"]["value"] for message in messages) == pytest.approx(1950101.877, abs=0.001)
    expected = pd.read_csv(file)
    assert [message["metrics"]["value"] for message in messages] == expected["value"].tolist()
    assert [message["timestamp"] for message in messages] == [
        f"{stamp.replace(' ', 'T')}Z" for stamp in expected["timestamp"]
    ]


def test_every_recording_of_the_valve_rig_can_be_read(recorded_data: Path) -> None:
    files = sorted((recorded_data / "skab").glob("*/*.csv"))
    assert files
    for file in files:
        with Recording(file, exclude=()) as recording:
            assert sum(1 for _ in recording) == len(file.read_text("utf-8").splitlines()) - 1, file
        assert recording.texts == 0
