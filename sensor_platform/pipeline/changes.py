"""What making micro-batches again changes, in numbers and examples: told alike by commands, dry runs and Dagster.

Apart from `differences`, which finds them: naming them does not import what compares.
"""

from collections import Counter
from dataclasses import dataclass, field, fields, replace
from typing import Any

#: Examples of each kind that are kept, of each route.
SAMPLES = 5
Counts = dict[str, int]
Samples = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class RouteChanges:
    """What changes of the messages of one route. An accepted message counts as such also where its readings are
    duplicates of others: that depends on those."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    newly_accepted: Counts = field(default_factory=dict)  # by the code that refused it
    newly_refused: Counts = field(default_factory=dict)  # by code
    refused_otherwise: Counts = field(default_factory=dict)  # "code before -> code"
    classes: Counts = field(default_factory=dict)  # "class before -> class", messages
    samples: Samples = field(default_factory=dict)  # by kind

    def __add__(self, other: "RouteChanges") -> "RouteChanges":
        kinds = {**self.samples, **other.samples}
        kept = {kind: [*self.samples.get(kind, ()), *other.samples.get(kind, ())][:SAMPLES] for kind in kinds}
        return RouteChanges(
            added=self.added + other.added,
            removed=self.removed + other.removed,
            changed=self.changed + other.changed,
            newly_accepted=_sum(self.newly_accepted, other.newly_accepted),
            newly_refused=_sum(self.newly_refused, other.newly_refused),
            refused_otherwise=_sum(self.refused_otherwise, other.refused_otherwise),
            classes=_sum(self.classes, other.classes),
            samples=kept,
        )


@dataclass(frozen=True, slots=True)
class Differences:
    """What making micro-batches again changes. `thinned_before` and `thinned` are readings, of all routes."""

    micro_batches: int = 0
    not_loaded_before: int = 0
    messages: int = 0
    thinned_before: int = 0
    thinned: int = 0
    routes: dict[str, RouteChanges] = field(default_factory=dict)
    units: list[dict[str, Any]] = field(default_factory=list)  # series whose stored values are converted

    def __add__(self, other: "Differences") -> "Differences":
        summed = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "routes"}
        names = sorted({**self.routes, **other.routes})
        none = RouteChanges()
        return Differences(
            **summed, routes={name: self.routes.get(name, none) + other.routes.get(name, none) for name in names}
        )

    @property
    def total(self) -> RouteChanges:
        """Of all routes together, without samples."""
        total = RouteChanges()
        for one in self.routes.values():
            total += replace(one, samples={})
        return total

    def of_route(self, name: str) -> "Differences":
        """What changes of that route alone. The rest of the counts stays that of all."""
        return replace(self, routes={route: one for route, one in self.routes.items() if route == name})


def _sum(left: Counts, right: Counts) -> Counts:
    return dict(Counter(left) + Counter(right))
