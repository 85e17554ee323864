from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sensor_platform.transformers.times import in_unit, iso, parse_time, parse_times
from sensor_platform_tests.transformers.decoding import codes, decode_payloads

NOON = 1_748_779_200_000_000  # 2025-06-01T12:00:00Z


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("2025-06-01T12:00:00Z", NOON),
        ("2025-06-01T12:00:00", NOON),
        ("2025-06-01 12:00", NOON),
        ("20250601T120000Z", NOON),
        ("2025-06-01T14:00:00+02:00", NOON),
        ("2025-06-01T12:00:00.1234567899Z", NOON + 123_456),
        ("2025-06-01", NOON - 43_200_000_000),
        (1_748_779_200, NOON),
        (1_748_779_200_001, NOON + 1_000),
        (1_748_779_200_000_001, NOON + 1),
        (1_748_779_200_000_001_999, NOON + 1),
        (99_999_999_999, 99_999_999_999_000_000),
        (100_000_000_000, 100_000_000_000_000),
        (1_748_779_200.000001, NOON + 1),
        (1_748_779_200_000.5, NOON + 500),
        ("1748779200", NOON),
        ("1748779200.000001", NOON + 1),
        (0, 0),
        (-1.5, -1_500_000),
        (datetime(2025, 6, 1, 14, tzinfo=timezone(timedelta(hours=2))), NOON),
        (datetime(2025, 6, 1, 12), NOON),  # noqa: DTZ001 - naive is UTC
    ],
)
def test_a_time_reads_to_the_microsecond(raw: object, expected: int) -> None:
    assert parse_time(raw) == expected
    times, valid = parse_times([raw])
    assert (times.tolist(), valid.tolist()) == ([expected], [True])


@pytest.mark.parametrize(
    "raw",
    ["", "now", "NaT", "nan", "1e400", "2025-13-01", "2025-06-01T25:00", "12:00", "\ud800", None, True, False, [], {},
     float("nan"), float("inf"), 2**63, 2**64 - 1, -(2**63), -99_999_999_999, "0000-01-01T00:00:00Z", 1e300],
)  # fmt: skip
def test_what_is_no_time_is_none(raw: object) -> None:
    assert parse_time(raw) is None
    assert parse_times([raw])[1].tolist() == [False]


@given(
    st.lists(
        st.one_of(
            st.integers(-(2**63), 2**64 - 1),
            st.floats(),
            st.text(max_size=12),
            st.datetimes(timezones=st.sampled_from([UTC, None])).map(datetime.isoformat),
            st.datetimes().map(lambda when: when.strftime("%Y-%m-%d %H:%M:%SZ")),
            st.none(),
            st.booleans(),
        ),
        max_size=6,
    )
)
@example(["2024"])
@example(["20240101"])
@example([-(2**63)])
def test_a_time_reads_the_same_alone_and_in_any_company(raw: list[object]) -> None:
    times, valid = parse_times(raw)
    alone = [parse_time(each) for each in raw]
    assert valid.tolist() == [time is not None for time in alone]
    assert [time for time, ok in zip(times.tolist(), valid, strict=True) if ok] == [t for t in alone if t is not None]


@given(st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(alphabet="0123456789-:TZ. +", max_size=24)))
@example(2**63 - 1)
@example("0000-01-01T00:00:00Z")
@example("2024-06-30T23:59:60Z")
def test_a_column_of_one_type_reads_as_each_of_it_does(raw: int | str) -> None:
    times, valid = parse_times([raw, raw])
    alone = parse_time(raw)
    assert valid.tolist() == [alone is not None] * 2
    if alone is not None:
        assert times.tolist() == [alone, alone]


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))  # noqa: DTZ001
def test_iso_text_reads_back(when: datetime) -> None:
    microseconds = (when - datetime(1970, 1, 1)) // timedelta(microseconds=1)  # noqa: DTZ001
    assert parse_time(iso(microseconds)) == microseconds


@pytest.mark.parametrize("raw", ["1e-99999999999999999999", "0e99999999999999999999", "1.5e-9999999999999999999"])
def test_a_number_beyond_what_decimals_hold_is_no_time(raw: str) -> None:
    assert parse_time(raw) is None
    assert parse_time(in_unit(raw, "ms")) is None
    assert codes(decode_payloads(b'{"time": "%s", "value": 1}' % raw.encode())) == [(0, 0, "invalid_timestamp")]


def test_no_times_are_no_times() -> None:
    times, valid = parse_times([])
    assert (times.dtype, len(times), len(valid)) == (np.dtype(np.int64), 0, 0)
