"""Candidates for routes, held against the samples that they were made for by the decoders and checks of every day.

A decode and its checks take milliseconds however few messages there are, so what is decoded in the same way is decoded
at once, whichever topics it came on, in pieces of bounded size.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sensor_platform.discovery.candidates import candidates
from sensor_platform.discovery.groups import Group
from sensor_platform.discovery.listen import Sample
from sensor_platform.pipeline.decode import decode
from sensor_platform.pipeline.explain import check_alone
from sensor_platform.pipeline.message import OneMessage, table_of
from sensor_platform.routes.model import Route, Routes
from sensor_platform.transformers import registry
from sensor_platform.transformers.options import options_of

MAX_PAYLOAD_BYTES = 4 * 1024 * 1024
#: Decoded at once: payloads of more bytes or more messages wait for the next piece.
PIECE_BYTES = 4 * 1024 * 1024
PIECE_MESSAGES = 5_000

Samples = Sequence[tuple[str, Sample]]


def routes_that_decode(groups: Sequence[Group]) -> list[Route | None]:
    """For each group the first candidate that decodes all of its samples, or else the one that decodes most; None:
    none does.
    """
    searches = [_Search(candidates(group), group.samples) for group in groups]
    while asked := [(search, route) for search in searches if (route := search.next()) is not None]:
        alike: dict[str, list[tuple[_Search, Route]]] = defaultdict(list)
        for search, route in asked:
            alike[_way_of(route)].append((search, route))
        for same in alike.values():
            shares = _shares(_Anywhere(same[0][1]), [search.samples for search, _ in same])
            for (search, route), share in zip(same, shares, strict=True):
                search.answer(route, share)
    return [search.best for search in searches]


def shares_together(proposed: Sequence[tuple[Group, Route]]) -> list[float]:
    """The share of the samples of each group that its route decodes among all the others."""
    routes = Routes(route for _, route in proposed)
    return _shares(routes, [group.samples for group, _ in proposed], [route.name for _, route in proposed])


@dataclass(slots=True)
class _Search:
    """For the route of one group."""

    candidates: Iterator[Route]
    samples: Samples
    best: Route | None = None
    share: float = 0.0

    def next(self) -> Route | None:
        """The next candidate; None: there is none, or no need for one."""
        return None if self.share == 1 else next(filter(_is_valid, self.candidates), None)

    def answer(self, route: Route, share: float) -> None:
        if share > self.share:
            self.share, self.best = share, route


def _is_valid(route: Route) -> bool:
    """Whether the format takes these options."""
    model = registry.get(route.format).options
    try:
        if model is not None:
            options_of(route, model)
    except ValueError:  # pydantic's error is one
        return False
    return True


def _way_of(route: Route) -> str:
    """What decoding depends on. The order of options counts: of patterns the first that matches."""
    return json.dumps([route.format, route.compression, route.options])


class _Anywhere(Routes):
    """One route as if its filter had every topic: who the readings are of is judged among all routes."""

    def __init__(self, route: Route) -> None:
        super().__init__([route])
        self._route = route

    def match(self, topic: str) -> tuple[Route, dict[str, str]]:
        return self._route, {"work_unit": "plant", "sensor": "sensor"}


def _shares(routes: Routes, samples: Sequence[Samples], names: Sequence[str] | None = None) -> list[float]:
    """Of each list of samples the share of which readings are made, by the route of that name, with nothing refused."""
    shares: list[float] = []
    for piece in _pieces(samples):
        verdicts = _verdicts(routes, [each for one in piece for each in one])
        for one in piece:
            name = names[len(shares)] if names is not None else None
            own = [next(verdicts) for _ in one]
            asked = [each for each in own if each != _LEFT_OUT]  # speaks neither for a format nor against it
            good = sum(each is not None and (name is None or each == name) for each in asked)
            shares.append(good / max(len(asked), 1))
    return shares


def _pieces(samples: Sequence[Samples]) -> Iterator[list[Samples]]:
    piece: list[Samples] = []
    size = count = 0
    for one in samples:
        piece.append(one)
        size += sum(len(each.payload) for _, each in one)
        count += len(one)
        if size >= PIECE_BYTES or count >= PIECE_MESSAGES:
            yield piece
            piece, size, count = [], 0, 0
    if piece:
        yield piece


#: The verdict on a message that a format leaves out.
_LEFT_OUT = ""


def _verdicts(routes: Routes, samples: Samples) -> Iterator[str | None]:
    """For each sample the name of the route that made readings of it, with nothing refused; None: none did."""
    table = table_of(OneMessage(topic.encode(), each.payload, each.received_at) for topic, each in samples)
    decoded = decode(table, routes, max_payload_bytes=MAX_PAYLOAD_BYTES)
    validated = check_alone(decoded, table, routes)
    refused = {refusal.message for refusal in (*decoded.refusals, *validated.refusals)}
    good = set(validated.accepted["message"].tolist()) - refused
    for place, name in enumerate(decoded.route_of):
        yield _LEFT_OUT if decoded.ignored[place] else name if place in good else None
