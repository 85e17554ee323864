"""What the live path knows of definitions: heard in earlier groups, asked for where it was not, forgotten when told."""

import socket
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from threading import Event
from typing import Any

import orjson
import pytest

from sensor_platform.database.engine import Database
from sensor_platform.errors import DatabaseUnavailableError
from sensor_platform.live import definitions
from sensor_platform.live.channels import Channels
from sensor_platform.live.definitions import HeardDefinitions
from sensor_platform.live.readings import LiveMessage, readings_of
from sensor_platform.pipeline.definitions import latest
from sensor_platform.routes.file import parse_routes
from sensor_platform.transformers.definitions import Definition
from sensor_platform.transformers.sparkplug_births import content_of
from sensor_platform_tests.transformers.sparkplug import birth, data, metric
from sensor_platform_tests.waiting import wait_until

ROUTES = parse_routes(
    """
routes:
- {name: sparkplug, filter: 'spBv1.0/#', format: sparkplug}
- {name: spare, filter: 'spare/{work_unit}/{sensor}', format: json}
"""
)
BORN = birth("g/n", metric("force", 1, 10, double_value=0.0))
TOLD = data("g/n", metric(None, 1, None, double_value=5.0))
DEFINED = content_of([("force", 1, 10, None)])
#: Of a format that needs no definition.
OTHER = ("spare/press/p1", b'{"pressure": 7.0}')


def shown(heard: HeardDefinitions, *messages: tuple[str, bytes]) -> tuple[list[tuple[str, float]], int]:
    """Metric and value of what the page gets, and how many refusals there were."""
    live = [
        LiveMessage(topic.encode(), payload, False, datetime(2026, 1, 1, tzinfo=UTC)) for topic, payload in messages
    ]
    channels = Channels("spBv1.0/#=all,spare/#=all", ROUTES)
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
        return {"g/n": DEFINED}

    with HeardDefinitions(ask, patience_s=60) as heard:
        assert [shown(heard, TOLD) for _ in range(2)] == [([("force", 5.0)], 0)] * 2
        assert heard.trouble is None
    assert asked.count("g/n") == 1


def test_a_database_that_does_not_answer_holds_up_nobody() -> None:
    begun, answering = Event(), Event()

    def ask(_format: str, _keys: Iterable[str]) -> Mapping[str, dict[str, Any]]:
        begun.set()
        answering.wait(60)
        return {"g/n": DEFINED}

    with HeardDefinitions(ask, patience_s=0.01) as heard:
        assert shown(heard, TOLD, OTHER) == ([("pressure", 7.0)], 1)
        assert begun.wait(60)
        # It goes on not to answer: not even a moment is waited any more, and others are shown.
        assert shown(heard, TOLD, OTHER) == ([("pressure", 7.0)], 1)
        assert heard.trouble is not None
        assert "the database has not answered yet" in heard.trouble
        answering.set()
        wait_until(lambda: heard.trouble is None, "the answer")
        assert shown(heard, TOLD) == ([("force", 5.0)], 0)


def test_a_postgresql_that_accepts_and_says_nothing_holds_up_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/d"
        with Database(url) as database, HeardDefinitions(partial(latest, database), patience_s=0.01) as heard:
            assert shown(heard, TOLD, OTHER) == ([("pressure", 7.0)], 1)
            connection, _ = silent.accept()
            assert shown(heard, OTHER, TOLD) == ([("pressure", 7.0)], 1)
            assert heard.trouble is not None
            connection.close()
            wait_until(lambda: "PostgreSQL does not answer" in str(heard.trouble), "the reason")
            assert shown(heard, OTHER, TOLD) == ([("pressure", 7.0)], 1)


def test_a_database_that_is_away_is_asked_again_by_itself() -> None:
    answers: list[Any] = [DatabaseUnavailableError("away"), {"g/n": DEFINED}]
    may_answer = Event()

    def ask(_format: str, _keys: Iterable[str]) -> Mapping[str, dict[str, Any]]:
        if len(answers) == 1:
            may_answer.wait(60)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    with HeardDefinitions(ask, patience_s=60, again_after_s=0) as heard:
        assert shown(heard, TOLD)[1] == 1
        assert heard.trouble is not None
        assert heard.trouble.endswith("asked for again: away")
        may_answer.set()
        wait_until(lambda: heard.trouble is None, "the next answer")
        assert shown(heard, TOLD) == ([("force", 5.0)], 0)


def test_what_is_heard_while_it_is_asked_for_is_newer_than_the_answer() -> None:
    begun, answering = Event(), Event()

    def ask(_format: str, _keys: Iterable[str]) -> Mapping[str, dict[str, Any]]:
        begun.set()
        answering.wait(60)
        return {"g/n": content_of([("old name", 1, 10, None)])}

    with HeardDefinitions(ask, patience_s=0.01) as heard:
        shown(heard, TOLD)
        assert begun.wait(60)
        shown(heard, BORN)
        answering.set()
        wait_until(lambda: heard.trouble is None, "the answer")
        assert shown(heard, TOLD) == ([("force", 5.0)], 0)


def test_an_answer_from_before_messages_were_missed_is_not_believed() -> None:
    begun, answering = Event(), Event()
    answers = [content_of([("old name", 1, 10, None)]), DEFINED]

    def ask(_format: str, _keys: Iterable[str]) -> Mapping[str, dict[str, Any]]:
        content = answers.pop(0)
        begun.set()
        answering.wait(60)
        return {"g/n": content}

    with HeardDefinitions(ask, patience_s=0.01) as heard:
        shown(heard, TOLD)
        assert begun.wait(60)
        heard.forget()
        answering.set()
        wait_until(lambda: shown(heard, TOLD) == ([("force", 5.0)], 0), "the next answer")
    assert answers == []


def test_of_which_nothing_is_known_is_asked_for_again_after_a_while() -> None:
    answers: list[dict[str, Any]] = [{}, {"g/n": DEFINED}]

    def ask(_format: str, keys: Iterable[str]) -> Mapping[str, dict[str, Any]]:
        return answers.pop(0) if "g/n" in keys else {}

    with HeardDefinitions(ask, patience_s=60, unknown_for_s=0) as heard:
        assert [shown(heard, TOLD)[1] for _ in range(2)] == [1, 0]


def test_what_is_remembered_is_bounded_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions, "REMEMBERED_BYTES", 200_000)
    heard = HeardDefinitions()
    for number in range(20):
        heard.learn({"f": [Definition(0, f"n{number}", {"metrics": ["x" * 10_000 + str(number)]})]})
    known = heard.of("f").find([f"n{number}" for number in range(20)])
    held = [key for key, found in known.items() if found]
    assert held == [f"n{number}" for number in range(20 - len(held), 20)]
    assert 15 <= len(held) < 20
