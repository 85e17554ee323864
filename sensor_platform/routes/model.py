"""A route, and the set of them that answers for a topic."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal

from sensor_platform.routes.contract import Contract
from sensor_platform.routes.deadband import Deadband
from sensor_platform.routes.filters import TopicFilter, covers, disjoint, overlaps, parse_filter
from sensor_platform.routes.sources import FormatSources

Conflicts = Literal["all", "first", "last"]
Retained = Literal["accept", "ignore"]
Silent = Literal["refuse", "ignore"]
Compression = Literal["none", "gzip", "zstd"]

#: Topics whose route is remembered; beyond it the one not asked for longest is looked up again.
MATCH_CACHE_TOPICS = 65_536


@dataclass(frozen=True)
class Route:
    """A topic filter, a format, and how to turn its payload into readings."""

    name: str
    filter: str
    format: str = ""
    work_unit: str | None = None
    sensor: str | None = None
    text: bool = False
    allow_nan: bool = False
    compression: Compression = "none"
    retained: Retained = "ignore"
    conflicts: Conflicts = "all"
    no_readings: Silent = "refuse"
    ignore: bool = False
    units: Mapping[str, str] = field(default_factory=dict, hash=False)
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    contract: Mapping[str, Any] | None = field(default=None, hash=False)
    report_by_exception: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    #: Not part of the definition: the same route is the same wherever its format's code lies.
    sources: FormatSources = field(default=FormatSources(), compare=False, repr=False)

    @cached_property
    def topic_filter(self) -> TopicFilter:
        return parse_filter(self.filter)

    @property
    def definition(self) -> dict[str, Any]:
        """What the route file says of it, as plain values."""
        return {name: value for name, value in asdict(self).items() if name != "sources"}

    @cached_property
    def version(self) -> str:
        """Short hash of the definition: readings made by another definition of the same name can be told apart."""
        # What is not said is left out: a key that comes with a later release changes no version.
        unsaid = Route("", "").definition
        said = {name: value for name, value in self.definition.items() if value != unsaid[name]}
        # The order inside of options stays: of `wide.values` the first pattern that matches counts.
        canonical = json.dumps(dict(sorted(said.items())), default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @cached_property
    def promises(self) -> Contract | None:
        """The contract as its model has it; None: the route has none."""
        return None if self.contract is None else Contract.model_validate(dict(self.contract))

    @cached_property
    def deadbands(self) -> dict[str, Deadband]:
        """`report_by_exception` as its model has it: by pattern of the metric, in order."""
        return {pattern: Deadband.model_validate(dict(asked)) for pattern, asked in self.report_by_exception.items()}

    def match(self, topic: str) -> dict[str, str] | None:
        """Work unit and sensor of `topic`, constants included; None where the filter does not match."""
        captured = self.topic_filter.match(topic)
        if captured is None:
            return None
        constants = {"work_unit": self.work_unit, "sensor": self.sensor}
        return {**{name: value for name, value in constants.items() if value is not None}, **captured}


class Routes:
    """All routes, most specific first."""

    def __init__(self, routes: Iterable[Route], *, source: str = "routes") -> None:
        self.source = source
        self._routes = tuple(sorted(routes, key=lambda route: route.topic_filter.specificity))
        self._cached_match = lru_cache(maxsize=MATCH_CACHE_TOPICS)(self._match)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def __len__(self) -> int:
        return len(self._routes)

    def __getitem__(self, name: str) -> Route:
        return next(route for route in self._routes if route.name == name)

    @property
    def filters(self) -> list[str]:
        """What the collector subscribes to: disjoint, so that no broker delivers a message twice."""
        return [f.subscription for f in disjoint(route.topic_filter for route in self._routes)]

    def match(self, topic: str) -> tuple[Route, dict[str, str]] | None:
        """The most specific route of `topic`, with its work unit and sensor (shared between callers: do not change)."""
        return self._cached_match(topic)

    def _match(self, topic: str) -> tuple[Route, dict[str, str]] | None:
        for route in self._routes:
            captured = route.match(topic)
            if captured is not None:
                return route, captured
        return None

    def overlaps(self) -> list[tuple[Route, Route]]:
        """Pairs that share topics; the first of each pair wins there."""
        pairs = [(a, b) for i, a in enumerate(self._routes) for b in self._routes[i + 1 :]]
        return [(a, b) for a, b in pairs if overlaps(a.topic_filter, b.topic_filter)]

    def widened(self) -> list[str]:
        """Subscriptions that let in more than the routes ask for, because filters overlap only in part."""
        wanted = [route.topic_filter for route in self._routes]
        joins = disjoint(wanted)
        return [f.subscription for f in joins if not any(covers(w, f) for w in wanted)]
