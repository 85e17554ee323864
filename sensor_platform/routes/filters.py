"""MQTT topic filters with named captures: matching, order, overlap, and the subscriptions that they need.

`factory/{work_unit}/sensors/{sensor}/data` is the MQTT filter `factory/+/sensors/+/data` that also says what the levels
mean. Brokers deliver a message once per matching subscription, so the subscriptions are made disjoint.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: What a level can be named: together with the metric, a reading's identity.
CAPTURES = ("work_unit", "sensor")
METRIC = "metric"
MAX_FILTER_BYTES = 65_535  # [MQTT-4.7.3-3]

_CAPTURE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class TopicFilter:
    """A topic filter in levels: literals, `+`, `#`; `captures` holds (level, name) of those with a name."""

    levels: tuple[str, ...]
    captures: tuple[tuple[int, str], ...] = ()

    @property
    def subscription(self) -> str:
        """The filter as the broker wants it."""
        return "/".join(self.levels)

    @property
    def specificity(self) -> tuple[int, ...]:
        """Sorts the most specific filter first. Two filters of equal rank that share a topic are the same filter."""
        return tuple({"+": 1, "#": 2}.get(level, 0) for level in self.levels)

    def match(self, topic: str) -> dict[str, str] | None:
        """The captured levels of `topic`, or None where the filter does not match it."""
        levels = topic.split("/")
        if not covers(self, TopicFilter(tuple(levels)), literally=True):
            return None
        captured: dict[str, str] = {}
        for index, name in self.captures:
            # A metric may be several levels: relay/0/power is relay.0.power.
            captured[name] = f"{captured[name]}.{levels[index]}" if name in captured else levels[index]
        return captured


def parse_filter(text: str) -> TopicFilter:
    """Raises ValueError with the reason where `text` is not a topic filter."""
    _check_text(text)
    levels: list[str] = []
    captures: list[tuple[int, str]] = []
    names = text.split("/")
    for index, level in enumerate(names):
        captured = _CAPTURE.fullmatch(level)
        if captured:
            captures.append((index, _capture_name(captured[1], captures)))
            levels.append("+")
        else:
            _check_level(level, is_last=index == len(names) - 1)
            levels.append(level)
    return TopicFilter(tuple(levels), tuple(captures))


def _check_text(text: str) -> None:
    if not text:
        raise ValueError("a filter has at least one character")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("a filter holds no surrogates") from None
    if size > MAX_FILTER_BYTES:
        raise ValueError(f"a filter has at most {MAX_FILTER_BYTES} bytes, this one {size}")
    if "\0" in text:
        raise ValueError("a filter holds no U+0000")
    if text.startswith("$share/"):
        raise ValueError("a shared subscription is a matter of the collector, not of a route: leave $share/GROUP/ out")


def _check_level(level: str, *, is_last: bool) -> None:
    if "{" in level or "}" in level:
        raise ValueError(f'a capture is a whole topic level, like {{sensor}}: "{level}" is not')
    if "#" in level and (level != "#" or not is_last):
        raise ValueError('"#" is a whole level and the last one')
    if "+" in level and level != "+":
        raise ValueError('"+" is a whole topic level')


def _capture_name(name: str, so_far: Sequence[tuple[int, str]]) -> str:
    if name not in (*CAPTURES, METRIC):
        raise ValueError(f'unknown capture "{{{name}}}". Known: {{work_unit}}, {{sensor}}, {{metric}}')
    if name != METRIC and any(name == other for _, other in so_far):
        raise ValueError(f'"{{{name}}}" stands twice')
    return name


def covers(wide: TopicFilter, narrow: TopicFilter, *, literally: bool = False) -> bool:
    """Whether `wide` matches every topic that `narrow` matches. `literally`: `narrow` is a topic."""
    if _hidden(wide, narrow):
        return False
    for index, level in enumerate(wide.levels):
        if level == "#":
            return True
        if index == len(narrow.levels):
            return False
        other = narrow.levels[index]
        if other == "#" and not literally:
            return False
        if level not in ("+", other):
            return False
    return len(wide.levels) == len(narrow.levels)


def overlaps(a: TopicFilter, b: TopicFilter) -> bool:
    """Whether some topic matches both."""
    if _hidden(a, b) or _hidden(b, a):
        return False
    for left, right in zip(a.levels, b.levels, strict=False):
        if "#" in (left, right):
            return True
        if left != right and "+" not in (left, right):
            return False
    longer = max(a.levels, b.levels, key=len)
    shared = min(len(a.levels), len(b.levels))
    # "#" also stands for the level above it: `a/#` matches `a` [MQTT-4.7.1-2].
    return len(longer) == shared or longer[shared] == "#"


def joined(a: TopicFilter, b: TopicFilter) -> TopicFilter:
    """The narrowest filter that covers both."""
    levels: list[str] = []
    for left, right in zip(a.levels, b.levels, strict=False):
        if "#" in (left, right):
            return TopicFilter((*levels, "#"))
        levels.append(left if left == right else "+")
    if len(a.levels) != len(b.levels):
        levels.append("#")
    return TopicFilter(tuple(levels))


def disjoint(filters: Iterable[TopicFilter]) -> list[TopicFilter]:
    """The fewest subscriptions that cover `filters` with no topic in two of them.

    Where two filters overlap and neither covers the other, their join takes the place of both: it lets in topics that
    no route may match, and those are dead letters; but nothing would tell two deliveries of one message apart.
    """
    result: list[TopicFilter] = []
    for each in filters:
        new = TopicFilter(each.levels)
        while meets := next((other for other in result if overlaps(other, new)), None):
            result.remove(meets)
            new = joined(meets, new)
        result.append(new)
    return sorted(result, key=lambda f: f.levels)


def _hidden(wide: TopicFilter, narrow: TopicFilter) -> bool:
    """A wildcard in the first level matches no topic that starts with `$` [MQTT-4.7.2-1]."""
    return wide.levels[0] in ("+", "#") and narrow.levels[0].startswith("$")
