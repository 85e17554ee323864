import random
import sys
from typing import Any

import pytest

from sensor_platform.discovery.shapes import is_name_of_a_thing, shapes


def shapes_of(*topics: str, fields: dict[str, set[str]] | None = None) -> list[str]:
    return ["/".join(shape.levels) for shape in shapes({topic: (fields or {}).get(topic, ()) for topic in topics})]


def test_levels_vary_where_what_follows_is_alike() -> None:
    assert shapes_of("f/hall/pump/data", "f/yard/pump/data", "f/yard/fan/data") == ["f/+/+/data"]
    assert shapes_of("f/hall/pump/data", "f/yard/fan/state") == ["f/hall/pump/data", "f/yard/fan/state"]
    assert shapes_of("a/x/state", "b/y/other") == ["a/x/state", "b/y/other"]


def test_the_root_is_a_word_unless_it_is_an_address() -> None:
    assert shapes_of("tele/x/STATE", "stat/x/STATE") == ["stat/x/STATE", "tele/x/STATE"]
    assert shapes_of("shellyplus1-08b61fd90730/events/rpc") == ["+/events/rpc"]


def test_the_name_of_a_thing_varies_also_where_it_was_seen_once() -> None:
    assert shapes_of("factory/line-1/sensors/press-3/data") == ["factory/+/sensors/+/data"]
    assert shapes_of("v3/app/devices/dev/up") == ["v3/app/devices/dev/up"]


def test_last_words_vary_where_they_say_the_same_and_stand_where_they_do_not() -> None:
    tasmota = {"tele/hall/SENSOR": {"ENERGY"}, "tele/hall/STATE": {"Wifi"}}
    assert shapes_of(*tasmota, fields=tasmota) == ["tele/hall/SENSOR", "tele/hall/STATE"]
    zigbee = {"z/lamp": {"linkquality", "state"}, "z/door": {"linkquality", "contact"}}
    assert shapes_of(*zigbee, fields=zigbee) == ["z/+"]
    assert shapes_of(*(f"home/{word}" for word in "abcdefghijklm")) == ["home/+"]


def test_every_topic_is_of_one_shape_that_matches_it() -> None:
    topics = ["a/b1/c", "a/b2/c", "a/b2", "x", "a//c", "a/d/e/f", "b1/b2/c"]
    found = shapes(dict.fromkeys(topics, ()))
    assert sorted(topic for shape in found for topic in shape.topics) == sorted(topics)
    for shape in found:
        for topic in shape.topics:
            levels = topic.split("/")
            assert all(want in ("+", level) for want, level in zip(shape.levels, levels, strict=True))


def words(count: int, seed: int) -> list[str]:
    chosen = random.Random(seed)
    return ["".join(chosen.choices("abcdefghij", k=6)) for _ in range(count)]


def calls_of(topics: dict[str, tuple[str, ...]]) -> int:
    """How many functions are called to find their shapes."""
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        shapes(topics)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize(
    "template", ["{0}/{1}/{2}", "plant/{0}/{1}", "plant/press-1/{0}", "plant/{0}/press-7/{1}", "{0}/press-7/{1}/data"]
)
def test_twice_the_topics_are_about_twice_the_work(template: str) -> None:
    some, many = (
        calls_of(dict.fromkeys(map(template.format, words(n, 1), words(n, 2), words(n, 3)), ())) for n in (300, 1200)
    )
    assert many < 4 * 1.5 * some


def test_names_of_things_and_words_of_one_shape_are_one_shape_with_all_its_topics() -> None:
    topics = ["f/press-1/d", "f/press-2/d", "f/hall/d", "f/yard/d"]
    (found,) = shapes(dict.fromkeys(topics, ()))
    assert (found.levels, sorted(found.topics)) == (("f", "+", "d"), sorted(topics))


@pytest.mark.parametrize("level", ["press-3", "12:34:56:78:9a:bc", "0016c001f153a14c", "deadbeef"])
def test_names_of_things(level: str) -> None:
    assert is_name_of_a_thing(level)


@pytest.mark.parametrize("level", ["data", "v3", "v1.2", "zigbee2mqtt", ""])
def test_words(level: str) -> None:
    assert not is_name_of_a_thing(level)
