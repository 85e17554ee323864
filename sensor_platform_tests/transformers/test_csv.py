"""CSV in columns and row by row are one: whatever the company, a message becomes the same."""

import pandas as pd
from hypothesis import example, given
from hypothesis import strategies as st

from sensor_platform_tests.transformers.decoding import codes, decode_payloads

HEADERS = [
    "a,b",
    "timestamp,a,b",
    "ts,a",
    "time,timestamp,x",
    "a",
    "a,a",
    ",a",
    "value,unit",
    "quality,a",
    "ä,b",
    '"a",b',
]
CELLS = [
    "1", "-1.5", "-0", "+2e3", ".5", "7.", "1e400", "nan", " 2", "1_0", "9007199254740993", "123456789012345678901234",
    "text", "", '"q"', '"1"', "a b", "2026-01-01T00:00:00Z", "2026-01-01 00:00:01.5", "1767225600", "ä", "0x10",
]  # fmt: skip
ENDS = ["\n", "", "\r\n", "\n\n"]


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    header = draw(st.sampled_from(HEADERS))
    width = header.count(",") + 1
    rows = draw(st.lists(st.lists(st.sampled_from(CELLS), min_size=width, max_size=width), max_size=3))
    if draw(st.integers(0, 9)) == 0:
        rows.append(["1"] * (width + 1))
    return "\n".join([header, *(",".join(row) for row in rows)]).encode() + draw(st.sampled_from(ENDS)).encode()


@given(st.lists(payloads(), min_size=1, max_size=6))
@example([b"a,b\n1,2\n", b"a,b\n3,4", b"a,b\n5,\n,6\n"])
@example([b"timestamp,a\n2026-01-01T00:00:00Z,1\n", b"timestamp,a\n1767225600,1\n", b"timestamp,a\n,1\n"])
def test_in_columns_and_row_by_row_are_the_same(group: list[bytes]) -> None:
    in_columns = decode_payloads(*group, format_="csv")
    by_row = decode_payloads(*group, format_="csv", options={"delimiter": ","})  # an option takes the general way
    pd.testing.assert_frame_equal(in_columns.readings, by_row.readings)
    assert in_columns.refusals == by_row.refusals


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=5))
def test_any_bytes_are_readings_or_a_reason(group: list[bytes]) -> None:
    decoded = decode_payloads(*group, format_="csv")
    answered = {refusal.message for refusal in decoded.refusals} | set(decoded.readings["message"])
    assert answered == set(range(len(group)))
    assert "transformer_failed" not in {code for _, _, code in codes(decoded)}


def test_a_file_without_a_header_with_decimal_commas() -> None:
    options = {
        "columns": ["at", "force", "state"],
        "delimiter": ";",
        "decimal": ",",
        "time": {"field": "at", "pattern": "%d.%m.%Y %H:%M", "zone": "Europe/Berlin"},
        "readings": [
            {"metric": "force", "value": "force", "unit": "kN", "scale": 0.1},
            {"metric": "running", "value": "state", "map": {"EIN": 1, "AUS": 0}},
        ],
    }
    decoded = decode_payloads(b"01.07.2025 14:00;812,5;EIN\n01.07.2025 14:01;790;AUS\n", format_="csv", options=options)
    assert codes(decoded) == []
    assert decoded.readings[["metric", "value", "unit"]].to_numpy().tolist() == [
        ["force", 81.25, "kN"],
        ["running", 1.0, None],
        ["force", 79.0, "kN"],
        ["running", 0.0, None],
    ]
    assert decoded.readings["time"].tolist() == [1_751_371_200_000_000] * 2 + [1_751_371_260_000_000] * 2
