"""What was heard, as routes: a format for each shape of topics, its time field, and how many samples it really decodes.

Every proposal is held against the samples that it was made from, by the decoders and checks of every day, first alone
and then among all the others: `confidence` is the share of its samples of which nothing is refused, and one that is 0
is not proposed.
"""

from dataclasses import dataclass, replace

from sensor_platform.discovery.candidates import time_of
from sensor_platform.discovery.families import family_of
from sensor_platform.discovery.groups import Group, groups
from sensor_platform.discovery.listen import Heard
from sensor_platform.discovery.times import TimeFound
from sensor_platform.discovery.trials import routes_that_decode, shares_together
from sensor_platform.routes.model import Route

WHY = {
    "text": "words that no format reads as numbers",
    "binary": "bytes of no format that describes itself: `binary` or `modbus` may read them",
    "empty": "no bytes",
    "sparkplug": "Sparkplug B, of which no birth was seen: a route of format sparkplug on spBv1.0/# may read it",
    "clash": "another format than most topics of this shape",
    "more": "of more shapes than are looked at",
}
NO_NUMBERS = "nothing in it is a number"


@dataclass(frozen=True, slots=True)
class Proposed:
    """A route, and what speaks for it. `confidence`: the share of its samples that decode, each as a whole."""

    route: Route
    confidence: float
    messages: int
    topics: tuple[str, ...]
    sample: bytes
    time: TimeFound | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """A topic that no route is proposed for."""

    topic: str
    messages: int
    why: str
    sample: bytes


@dataclass(frozen=True, slots=True)
class Proposal:
    """Routes in the order of their filters, and the topics that they leave out."""

    routes: tuple[Proposed, ...]
    unrecognised: tuple[Unrecognised, ...]


def propose(heard: Heard) -> Proposal:
    """Routes for everything that was heard."""
    found = groups(heard)
    names = _Names()
    chosen = [
        None if route is None else replace(route, name=names.free(route.name)) for route in routes_that_decode(found)
    ]
    proposed = [(group, route) for group, route in zip(found, chosen, strict=True) if route is not None]
    together = shares_together(proposed)
    kept = [_proposed(group, route, share) for (group, route), share in zip(proposed, together, strict=True) if share]
    named = {topic for each in kept for topic in each.topics}
    left_out = [each for group in found if group.shape.topics[0] not in named for each in _unrecognised(group)]
    return Proposal(tuple(kept), tuple(sorted(left_out, key=lambda each: each.topic)))


class _Names:
    """Names of routes, each given once: `press`, `press-2`, …"""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._last: dict[str, int] = {}

    def free(self, name: str) -> str:
        number = self._last.get(name, 0) + 1
        while (numbered := name if number == 1 else f"{name}-{number}") in self._taken:
            number += 1
        self._last[name] = number
        self._taken.add(numbered)
        return numbered


def _proposed(group: Group, route: Route, share: float) -> Proposed:
    time = time_of(group)
    sample = group.samples[0][1].payload
    notes = tuple(_notes(group, route, time))
    return Proposed(route, share, group.messages, group.shape.topics, sample, time, notes)


def _notes(group: Group, route: Route, time: TimeFound | None) -> list[str]:
    notes = []
    guessed = {"work_unit": route.work_unit, "sensor": route.sensor}
    if constants := [f"{name}: {value}" for name, value in guessed.items() if value is not None]:
        notes.append(f"a guess, since the topics do not vary there: {', '.join(constants)}")
    if (family := family_of(group.shape.topics)) is not None:
        notes.append(f"ready-made: `include: [{family}]` reads these topics; `routes show {family}` prints its routes")
    retained = all(sample.retain for topic in group.heard for sample in topic.samples)
    if retained and time is None:
        notes.append("only retained messages were seen, without a time: they are ignored unless `retained: accept`")
    return notes


def _unrecognised(group: Group) -> list[Unrecognised]:
    why = WHY.get(group.kind, NO_NUMBERS)
    return [Unrecognised(each.topic, each.messages, why, each.samples[0].payload) for each in group.heard]
