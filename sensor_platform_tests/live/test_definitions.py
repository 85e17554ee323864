"""What the live path knows of definitions: heard in earlier groups, asked for where it was not, forgotten when told."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from sensor_platform.errors import DatabaseUnavailableError
from sensor_platform.live.channels import Channels
from sensor_platform.live.definitions import HeardDefinitions
from sensor_platform.live.readings import LiveMessage, readings_of
from sensor_platform.routes.file import parse_routes
from sensor_platform.transformers.sparkplug_births import content_of
from sensor_platform_tests.transformers.sparkplug import birth, data, metric

ROUTES = parse_routes("routes: [{name: sparkplug, filter: 'spBv1.0/#', format: sparkplug}]")
BORN = birth("g/n", metric("force", 1, 10, double_value=0.0))
TOLD = data("g/n", metric(None, 1, None, double_value=5.0))


def shown(heard: HeardDefinitions, *messages: tuple[str, bytes]) -> tuple[list[tuple[str, float]], int]:
    """Metric and value of what the page gets, and how many refusals there were."""
    live = [
        LiveMessage(topic.encode(), payload, False, datetime(2026, 1, 1, tzinfo=UTC)) for topic, payload in messages
    ]
    channels = Channels("spBv1.0/#=all", ROUTES)
    found, refused = readings_of(live, ROUTES, channels, max_payload_bytes=10_000, definitions=heard)
    rows = [orjson.loads(one.json) for one in found]
    return [(row["metric"], row["value"]) for row in rows], refused


def test_a_birth_that_was_heard_holds_in_later_groups_until_it_is_forgotten() -> None:
    heard = HeardDefinitions()
    shown(heard, BORN)
    assert shown(heard, TOLD) == ([("force", 5.0)], 0)
    heard.forget()
    assert shown(heard, TOLD) == ([], 1)


def test_what_was_not_heard_is_asked_for_once() -> None:
    asked: list[str] = []

    def ask(_format: str, keys: Iterable[str]) -> Mapping[str, dict[str, Any]]:
        asked.extend(keys)
        return {"g/n": content_of([("force", 1, 10, None)])}

    heard = HeardDefinitions(ask)
    assert [shown(heard, TOLD) for _ in range(2)] == [([("force", 5.0)], 0)] * 2
    assert asked.count("g/n") == 1


def test_a_database_that_is_away_is_asked_again() -> None:
    answers: list[Any] = [DatabaseUnavailableError("away"), {"g/n": content_of([("force", 1, 10, None)])}]

    def ask(_format: str, _keys: Iterable[str]) -> Mapping[str, dict[str, Any]]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    heard = HeardDefinitions(ask)
    assert [shown(heard, TOLD)[1] for _ in range(2)] == [1, 0]
