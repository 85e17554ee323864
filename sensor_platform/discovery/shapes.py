"""Topics by their shape: which levels are words that belong to the route, and which name a thing.

`a/press-1/data` and `a/press-2/data` are one shape, `a/+/data`: levels vary where what follows them is alike. A level
that reads as the name of a thing (it ends in a digit, it is an address) is taken for one also where it was seen once.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

#: Stands for a level that varies.
VARIES = "+"
#: A last level of more different words than these varies.
MANY = 12
#: Deeper topics are not looked at together, which takes twice the time for each level.
POOLED_LEVELS = 10
#: A topic of more levels stands for itself alone.
MAX_LEVELS = 50

_NAME_OF_A_THING = re.compile(
    r".*\d|[0-9a-f]{2}([:-][0-9a-f]{2}){3,}|[0-9a-f]{8,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE
)
_VERSION = re.compile(r"v\d+(\.\d+)*", re.IGNORECASE)

Levels = tuple[str, ...]
Places = frozenset[int]


@dataclass(frozen=True, slots=True)
class Shape:
    """`levels` with VARIES in place of those that vary, and the topics that have it."""

    levels: Levels
    topics: tuple[str, ...]


def shapes(topics: Mapping[str, Collection[str]]) -> list[Shape]:
    """The shapes of topics of one format: topic -> the names of its fields, by which last levels are told apart."""
    found: dict[Levels, list[str]] = defaultdict(list)
    by_depth: dict[int, list[str]] = defaultdict(list)
    for topic in sorted(topics):
        by_depth[topic.count("/")].append(topic)
    for depth, alike in by_depth.items():
        if depth >= MAX_LEVELS:
            found |= {tuple(topic.split("/")): [topic] for topic in alike}
            continue
        split = {tuple(topic.split("/")): topic for topic in alike}
        for levels, members in _shapes(list(split), 0, split, topics).items():
            found[levels] += [split[member] for member in members]
    return [Shape(levels, tuple(sorted(found[levels]))) for levels in sorted(found)]


def is_name_of_a_thing(level: str) -> bool:
    return _NAME_OF_A_THING.fullmatch(level) is not None and _VERSION.fullmatch(level) is None


def _shapes(
    members: list[Levels], at: int, topic_of: Mapping[Levels, str], fields: Mapping[str, Collection[str]]
) -> dict[Levels, list[Levels]]:
    """Shape from level `at` on -> its topics."""
    if at == len(members[0]):
        return {(): members}
    by_value: dict[str, list[Levels]] = defaultdict(list)
    for member in members:
        by_value[member[at]].append(member)
    below = {value: _shapes(group, at + 1, topic_of, fields) for value, group in by_value.items()}
    result: dict[Levels, list[Levels]] = defaultdict(list)
    for values in _alike(below):
        varies = _varies(values, by_value, at, topic_of, fields)
        if varies and len(values) > 1 and len(members[0]) - at <= POOLED_LEVELS:
            # What is below them together may vary where it did not below one alone.
            pooled = [member for value in values for member in by_value[value]]
            for rest, group in _shapes(pooled, at + 1, topic_of, fields).items():
                result[VARIES, *rest] += group
            continue
        for value in values:
            for rest, group in below[value].items():
                result[(VARIES if varies else value, *rest)] += group
    return result


def _alike(below: Mapping[str, Mapping[Levels, list[Levels]]]) -> list[list[str]]:
    """Values with something in common below them; names of things are of a kind with each other."""
    groups: list[list[str]] = []
    seen = {True: _Seen(), False: _Seen()}
    for value, rest in below.items():
        of_kind = seen[is_name_of_a_thing(value)]
        group = min((found for shape in rest if (found := of_kind.first(shape)) is not None), default=len(groups))
        if group == len(groups):
            groups.append([])
        groups[group].append(value)
        for shape in rest:
            of_kind.add(shape, group)
    return groups


class _Seen:
    """Shapes with the number of their group. Two could be one if their words are the same where both have words.

    So shapes are looked up by their words, once for each choice of levels that vary: there are few of those.
    """

    def __init__(self) -> None:
        self._shapes: dict[Places, list[tuple[Levels, int]]] = {}
        self._by_words: dict[tuple[Places, Places], dict[Levels, int]] = {}

    def add(self, shape: Levels, group: int) -> None:
        varies = _varying(shape)
        self._shapes.setdefault(varies, []).append((shape, group))
        for (of, other), groups in self._by_words.items():
            if of == varies:
                _note(groups, _words(shape, varies, other), group)

    def first(self, shape: Levels) -> int | None:
        """The first group of which a shape could be one with `shape`."""
        varies = _varying(shape)
        found = (self._groups(of, varies).get(_words(shape, of, varies)) for of in self._shapes)
        return min((group for group in found if group is not None), default=None)

    def _groups(self, of: Places, other: Places) -> dict[Levels, int]:
        """Of shapes that vary at `of`: the words at levels that do not vary at `other` either -> the first group."""
        groups = self._by_words.get((of, other))
        if groups is None:
            groups = self._by_words[of, other] = {}
            for shape, group in self._shapes[of]:
                _note(groups, _words(shape, of, other), group)
        return groups


def _note(groups: dict[Levels, int], words: Levels, group: int) -> None:
    groups[words] = min(group, groups.get(words, group))


def _varying(shape: Levels) -> Places:
    return frozenset(place for place, level in enumerate(shape) if level == VARIES)


def _words(shape: Levels, varies: Places, other: Places) -> Levels:
    return tuple(level for place, level in enumerate(shape) if place not in varies and place not in other)


def _varies(
    values: list[str],
    by_value: Mapping[str, list[Levels]],
    at: int,
    topic_of: Mapping[Levels, str],
    fields: Mapping[str, Collection[str]],
) -> bool:
    if at == 0:  # the root names an application more often than a thing
        return (len(values) > 1 and all(map(is_name_of_a_thing, values))) or _is_address(values[0])
    if all(map(is_name_of_a_thing, values)):
        return True
    if len(values) == 1:
        return False
    is_last = len(by_value[values[0]][0]) == at + 1
    if not is_last:
        return True
    return len(values) > MANY or _share_fields([fields[topic_of[by_value[value][0]]] for value in values])


def _is_address(level: str) -> bool:
    """A serial number or an address: no word would be so long and have so many digits."""
    return len(re.findall(r"\d", level)) >= 4 and len(level) >= 8


def _share_fields(names: list[Collection[str]]) -> bool:
    """Whether a field stands in most of them: things of a kind say the same, kinds of message do not."""
    counts: dict[str, int] = defaultdict(int)
    for each in names:
        for name in each:
            counts[name] += 1
    return bool(counts) and max(counts.values()) > len(names) / 2
