"""What was heard, as routes: a format for each shape of topics, its time field, and how many samples it really decodes.

Every proposal is held against the samples that it was made from, by the decoders and checks of every day, first alone
and then among all the others: `confidence` is the share of its samples of which nothing is refused, and one that is 0
is not proposed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from sensor_platform.discovery.candidates import candidates, time_of
from sensor_platform.discovery.families import family_of
from sensor_platform.discovery.groups import Group, groups
from sensor_platform.discovery.listen import Heard, Sample
from sensor_platform.discovery.times import TimeFound
from sensor_platform.pipeline.decode import decode, one_message
from sensor_platform.pipeline.explain import check_alone
from sensor_platform.routes.model import Route, Routes
from sensor_platform.transformers import registry
from sensor_platform.transformers.registry import options_of

MAX_PAYLOAD_BYTES = 4 * 1024 * 1024
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
    found: dict[str, tuple[Proposed, Group]] = {}
    left_out: list[Group] = []
    for group in groups(heard):
        proposed = _best(group, taken=found.keys())
        if proposed is None:
            left_out.append(group)
        else:
            found[proposed.route.name] = (proposed, group)
    together = Routes(proposed.route for proposed, _ in found.values())
    kept: list[Proposed] = []
    for proposed, group in found.values():
        share = _share(together, proposed.route.name, group.samples)
        kept += [replace(proposed, confidence=share)] if share else []
        left_out += [] if share else [group]
    unrecognised = sorted((each for group in left_out for each in _unrecognised(group)), key=lambda each: each.topic)
    return Proposal(tuple(kept), tuple(unrecognised))


def _best(group: Group, *, taken: Iterable[str]) -> Proposed | None:
    """The first route that decodes every sample of the group, or else the one that decodes most; None: none does."""
    best: tuple[float, Route] | None = None
    for candidate in candidates(group):
        route = replace(candidate, name=_free(candidate.name, taken))
        share = _share(Routes([route]), route.name, group.samples) if _is_valid(route) else 0.0
        if share and (best is None or share > best[0]):
            best = (share, route)
        if share == 1:
            break
    if best is None:
        return None
    time = time_of(group)
    return Proposed(
        best[1],
        best[0],
        group.messages,
        group.shape.topics,
        group.samples[0][1].payload,
        time,
        tuple(_notes(group, best[1], time)),
    )


def _free(name: str, taken: Iterable[str]) -> str:
    names = set(taken)
    number = 1
    numbered = name
    while numbered in names:
        number += 1
        numbered = f"{name}-{number}"
    return numbered


def _is_valid(route: Route) -> bool:
    """Whether the format takes these options."""
    model = registry.get(route.format).options
    try:
        if model is not None:
            options_of(route, model)
    except ValueError:  # pydantic's error is one
        return False
    return True


def _share(routes: Routes, name: str, samples: Sequence[tuple[str, Sample]]) -> float:
    """The share of the samples that route `name` makes readings of, with nothing of them refused."""
    table = pa.concat_tables([one_message(topic, each.payload, each.received_at) for topic, each in samples])
    decoded = decode(table, routes, max_payload_bytes=MAX_PAYLOAD_BYTES)
    validated = check_alone(decoded, table, routes)
    refused = {refusal.message for refusal in (*decoded.refusals, *validated.refusals)}
    good = set(validated.accepted["message"].tolist()) - refused
    asked = len(samples) - int(decoded.ignored.sum())  # what a format leaves out speaks neither for it nor against it
    return len([place for place in good if decoded.route_of[place] == name]) / max(asked, 1)


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
