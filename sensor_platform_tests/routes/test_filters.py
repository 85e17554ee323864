import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor_platform.routes.filters import covers, disjoint, joined, overlaps, parse_filter

LEVELS = st.sampled_from(["a", "b", "+", ""])
FILTERS = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]),
    st.lists(LEVELS, min_size=1, max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(bool)
TOPICS = st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=5).map("/".join)


@pytest.mark.parametrize(
    ("text", "topic", "captured"),
    [
        ("factory/{work_unit}/sensors/{sensor}/data", "factory/w/sensors/s/data", {"work_unit": "w", "sensor": "s"}),
        ("factory/{work_unit}/sensors/{sensor}/data", "factory/w/sensors/s/csv", None),
        ("factory/{work_unit}/sensors/{sensor}/data", "factory/w/sensors/s/data/x", None),
        ("+/{sensor}/#", "x/s", {"sensor": "s"}),  # # also matches the level above it [MQTT-4.7.1-2]
        ("+/{sensor}/#", "x/s/y/z", {"sensor": "s"}),
        ("{sensor}", "", {"sensor": ""}),
        ("#", "a/b", {}),
        ("#", "$SYS/broker/uptime", None),  # [MQTT-4.7.2-1]
        ("+/broker/uptime", "$SYS/broker/uptime", None),
        ("$SYS/#", "$SYS/broker/uptime", {}),
        ("a/+", "a/$b", {}),
        ("{sensor}/{metric}/x/{metric}", "s/relay/x/0", {"sensor": "s", "metric": "relay.0"}),
        ("a/+", "a/+", {}),
    ],
)
def test_a_filter_matches_whole_levels_and_captures_them(
    text: str, topic: str, captured: dict[str, str] | None
) -> None:
    assert parse_filter(text).match(topic) == captured


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "at least one character"),
        ("a/#/b", '"#" is a whole level and the last one'),
        ("a/b#", '"#" is a whole level and the last one'),
        ("a/b+", '"+" is a whole topic level'),
        ("a/x{sensor}", "a capture is a whole topic level"),
        ("a/{sensor", "a capture is a whole topic level"),
        ("a/{device}", 'unknown capture "{device}". Known: {work_unit}, {sensor}, {metric}'),
        ("{sensor}/{sensor}", '"{sensor}" stands twice'),
        ("$share/g/a", "leave $share/GROUP/ out"),
        ("a\0", "no U+0000"),
        ("\ud800", "no surrogates"),
        ("ä" * 32768, "at most 65535 bytes, this one 65536"),
    ],
)
def test_what_is_no_filter_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_filter(text)


def test_the_most_specific_filter_sorts_first() -> None:
    filters = ["#", "a/#", "+/b", "a/+", "a/b/#", "a/b", "{sensor}/+"]
    ordered = sorted((parse_filter(text) for text in filters), key=lambda f: f.specificity)
    assert [f.subscription for f in ordered] == ["a/b", "a/b/#", "a/+", "a/#", "+/b", "+/+", "#"]


def test_subscriptions_covered_by_another_are_left_out() -> None:
    subscriptions = disjoint(parse_filter(text) for text in ["a/b", "a/+", "c/#", "c", "d/{sensor}"])
    assert [f.subscription for f in subscriptions] == ["a/+", "c/#", "d/+"]


def test_filters_that_overlap_in_part_are_subscribed_by_their_join() -> None:
    subscriptions = disjoint([parse_filter("f/+/sensors/+/data"), parse_filter("f/l1/#"), parse_filter("g/x")])
    assert [f.subscription for f in subscriptions] == ["f/+/#", "g/x"]


@given(FILTERS, FILTERS, TOPICS)
def test_overlap_cover_and_join_agree_with_matching(a: str, b: str, topic: str) -> None:
    left, right = parse_filter(a), parse_filter(b)
    in_left, in_right = left.match(topic) is not None, right.match(topic) is not None
    if in_left and in_right:
        assert overlaps(left, right)
    if in_right and covers(left, right):
        assert in_left
    if in_left or in_right:
        assert joined(left, right).match(topic) is not None


@given(st.lists(FILTERS, min_size=1, max_size=5), TOPICS)
def test_no_topic_is_delivered_by_two_subscriptions(texts: list[str], topic: str) -> None:
    wanted = [parse_filter(text) for text in texts]
    delivered = sum(f.match(topic) is not None for f in disjoint(wanted))
    assert delivered <= 1
    assert delivered == 1 or not any(f.match(topic) is not None for f in wanted)
