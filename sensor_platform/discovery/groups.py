"""Topics of one kind and shape together: what a route is proposed for."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sensor_platform.discovery.listen import Heard, HeardTopic, Sample
from sensor_platform.discovery.payloads import KINDS, Look, look_at
from sensor_platform.discovery.shapes import Levels, Shape, shapes

#: Samples of one route that are decoded; each topic has its turn.
MAX_SAMPLES = 500
#: Topics of one group that get routes of their own where another group has its filter.
MAX_NAMED = 50
#: Groups that are looked at, the busiest; each takes some decoding.
MAX_GROUPS = 300
#: Kinds that no route is made for, unless their words are two states.
UNREAD = frozenset({"text", "binary", "empty"})
#: Births and data of a node belong together: one route for all of it.
SPARKPLUG = ("spBv1.0", "#")
#: Fields that stand in messages of every kind.
TIMES = frozenset({"time", "timestamp", "ts"})


@dataclass(slots=True)
class Group:
    """Topics of one kind and shape."""

    kind: str
    look: Look
    shape: Shape
    heard: list[HeardTopic] = field(default_factory=list)

    @property
    def messages(self) -> int:
        return sum(topic.messages for topic in self.heard)

    @property
    def samples(self) -> list[tuple[str, Sample]]:
        """The first of every topic, then the second of each, …; as they came where order means something."""
        most = max(len(topic.samples) for topic in self.heard)
        rounds = [(t.topic, t.samples[n]) for n in range(most) for t in self.heard if n < len(t.samples)]
        taken = rounds[:MAX_SAMPLES]
        return sorted(taken, key=lambda one: one[1].received_at) if self.kind == "sparkplug" else taken


def groups(heard: Heard) -> list[Group]:
    """Everything that was heard, in the order of the filters."""
    looks = {topic: look_of(each) for topic, each in sorted(heard.topics.items())}
    return _without_clashes(_groups(heard, looks))


def look_of(heard: HeardTopic) -> Look:
    """The kind of most of its payloads; where two are as frequent the stricter one."""
    if heard.topic.startswith(f"{SPARKPLUG[0]}/"):
        return Look("sparkplug")
    found: dict[tuple[str, str], list[Look]] = defaultdict(list)
    for sample in heard.samples:
        look = look_at(sample.payload)
        found[look.kind, look.compression].append(look)
    some = {key: each for key, each in found.items() if key[0] != "empty"} or found
    order = (*KINDS, "empty")
    looks = max(some.values(), key=lambda each: (len(each), -order.index(each[0].kind)))
    documents = tuple(document for look in looks for document in look.documents)
    return replace(looks[0], documents=documents)


def _groups(heard: Heard, looks: Mapping[str, Look]) -> list[Group]:
    by_kind: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(dict)
    for topic, look in looks.items():
        names = {name for document in look.documents for name in document if name.lower() not in TIMES}
        by_kind[look.kind, look.compression][topic] = sorted(names)
    found: list[Group] = []
    for (kind, _), fields in by_kind.items():
        alike = [Shape(SPARKPLUG, tuple(fields))] if kind == "sparkplug" else shapes(fields)
        for shape in alike:
            documents = tuple(document for topic in shape.topics for document in looks[topic].documents)
            look = replace(looks[shape.topics[0]], documents=documents)
            found.append(Group(kind, look, shape, [heard.topics[topic] for topic in shape.topics]))
    return found


def _without_clashes(found: list[Group]) -> list[Group]:
    """Of groups with one filter the one with most messages keeps it; topics of the others are named one by one."""
    kept: dict[Levels, Group] = {}
    rest: list[Group] = []
    for group in sorted(found, key=lambda group: (group.kind in UNREAD, -group.messages)):
        if group.shape.levels not in kept:
            kept[group.shape.levels] = group
        elif len(group.heard) <= MAX_NAMED:
            rest += [
                Group(group.kind, group.look, Shape(tuple(heard.topic.split("/")), (heard.topic,)), [heard])
                for heard in group.heard
            ]
        else:
            rest.append(replace(group, kind="clash"))
    busiest = sorted([*kept.values(), *rest], key=lambda group: -group.messages)
    some = [*busiest[:MAX_GROUPS], *(replace(group, kind="more") for group in busiest[MAX_GROUPS:])]
    return sorted(some, key=lambda group: (group.shape.levels, group.kind))
