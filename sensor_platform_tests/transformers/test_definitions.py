"""The timeline that a transformer walks along, and what becomes of it when a column is cut."""

import pickle
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pytest

from sensor_platform.errors import DefinitionsUnavailableError
from sensor_platform.pipeline.decode import decode
from sensor_platform.routes.file import parse_routes
from sensor_platform.transformers.definitions import Definition, Definitions, Timeline, check_definitions
from sensor_platform_tests.transformers.sparkplug import data, metric, table

SPARKPLUG = parse_routes("routes: [{name: sparkplug, filter: 'spBv1.0/#', format: sparkplug}]")


def known(*places: int) -> Definitions:
    """Definitions of "n" from outside, each saying before which message it stands."""
    return Definitions(lambda keys: {"n": [Definition(place, "n", {"outside": place}) for place in places]})


def test_what_is_in_force_is_the_newest_before_the_message() -> None:
    timeline = Timeline(known(0, 3))
    timeline.define(2, "n", {"own": 2})
    assert [timeline.latest("n", message) for message in range(5)] == [
        {"outside": 0},
        {"outside": 0},
        {"own": 2},
        {"outside": 3},
        {"outside": 3},
    ]
    assert timeline.found == [Definition(2, "n", {"own": 2})]


def test_nothing_is_in_force_before_the_first() -> None:
    timeline = Timeline(known(2))
    assert [timeline.latest("n", message) for message in (0, 1, 2)] == [None, None, {"outside": 2}]
    assert timeline.latest("other", 2) is None


def test_one_of_its_own_in_the_message_before_which_another_stands_comes_after_it() -> None:
    timeline = Timeline(known(2))
    timeline.define(2, "n", {"own": 2})
    assert timeline.latest("n", 2) == {"own": 2}


def test_keys_are_asked_for_once() -> None:
    asked: list[list[str]] = []

    def find(keys: Collection[str]) -> Mapping[str, list[Definition]]:
        asked.append(list(keys))
        return {}

    definitions = Definitions(find)
    definitions.expect(["a", "b"])
    half = definitions.taken(np.array([1, 2]))
    half.expect(["a", "b", "c"])
    assert half.of("a") == []
    assert asked == [["a", "b"], ["c"]]


def test_a_question_that_cannot_be_answered_is_no_fault_of_the_messages() -> None:
    asked: list[list[str]] = []

    def find(keys: Collection[str]) -> Mapping[str, list[Definition]]:
        asked.append(list(keys))
        raise OSError("the connection is gone")

    messages = table([data("g/n", metric(None, alias, None, double_value=1.0)) for alias in range(8)])
    with pytest.raises(DefinitionsUnavailableError, match="try again later: OSError: the connection is gone"):
        decode(messages, SPARKPLUG, max_payload_bytes=1000, definitions_of=lambda _format: Definitions(find))
    assert len(asked) == 1


@pytest.mark.parametrize("key", ["", "n\0", "\ud800", "n" * 2001, 7])
def test_of_what_cannot_be_a_key_nothing_is_known_and_nobody_is_asked(key: Any) -> None:
    def find(keys: Collection[str]) -> Mapping[str, list[Definition]]:
        raise AssertionError(keys)

    assert Definitions(find).of(key) == ()


def test_a_part_of_the_column_sees_what_stands_before_it_and_what_other_parts_found() -> None:
    part = known(0, 3).overlaid([Definition(1, "n", {"own": 1})]).taken(np.array([1, 2, 4]))
    timeline = Timeline(part)
    assert [timeline.latest("n", message) for message in range(3)] == [{"own": 1}, {"own": 1}, {"outside": 3}]


def test_over_the_border_of_a_process_goes_what_was_looked_up() -> None:
    definitions = known(0)
    definitions.expect(["n"])
    there = pickle.loads(pickle.dumps(definitions))
    assert there.of("n") == [Definition(0, "n", {"outside": 0})]
    assert there.of("other") == ()


@pytest.mark.parametrize(
    "definition",
    [
        Definition(1, "n", {}),
        Definition(0, "", {}),
        Definition(0, "n\0", {}),
        Definition(0, "n", {"a": [float("nan")]}),
        Definition(0, "n", {"a": [{"b": "\0"}]}),
        Definition(0, "n", {"a": {1, 2}}),
    ],
)
def test_what_cannot_be_kept_is_refused(definition: Definition) -> None:
    with pytest.raises((TypeError, ValueError)):
        check_definitions([definition], 1)
