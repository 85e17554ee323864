from datetime import UTC, datetime
from typing import Any

import pytest

from sensor_platform.discovery.times import find_time

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"Time": "2025-06-01T12:00:00", "v": 1}, "Time, ISO 8601, without an offset: read as UTC"),
        ({"time": "2025-06-01T12:00:00Z"}, "time, ISO 8601"),
        ({"ts": 1767225600}, "ts, a number, in s"),
        ({"params": {"ts": 1736604020.5}}, "params.ts, a number, in s"),
        ({"at": 1767225600000}, "at, a number, in ms"),
        ({"at": 1767225600000000}, "at, a number, in us"),
        ({"at": "1767225600000000000"}, "at, a number, in ns"),
        ({"created_at": "2025-01-01", "timestamp": "2025-06-01T00:00:00Z"}, "timestamp, ISO 8601"),
    ],
)
def test_a_time_is_found_with_its_unit(document: dict[str, Any], said: str) -> None:
    assert str(find_time([document], received_at=NOW)) == said


@pytest.mark.parametrize(
    "documents",
    [
        [],
        [{"value": 1767225600}],
        [{"ts": 51}],
        [{"time": "12:00"}],
        [{"time": True}],
        [{"timestamp": "2027-01-01T00:00:00Z"}],
        [{"time": "2025-01-01"}, {"time": "noon"}],
        [{"time": "2025-01-01"}, {}, {}],
    ],
)
def test_what_is_no_time_in_most_documents_is_not_taken_for_one(documents: list[dict[str, Any]]) -> None:
    assert find_time(documents, received_at=NOW) is None
