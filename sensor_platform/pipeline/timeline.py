"""Routes of one format share their definitions in received order, whichever of them is decoded first."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sensor_platform.routes.model import Route
from sensor_platform.transformers.contract import Decoded
from sensor_platform.transformers.definitions import Definition, Definitions
from sensor_platform.transformers.keeping import no_readings

#: How often a route is decoded at most, for what the others of its format define. Since a definition rests on earlier
#: messages only, this ends after two or three; a custom transformer that says something else each time ends here.
MOST_PASSES = 8

#: Format -> what messages outside of the table defined.
DefinitionsOf = Callable[[str], Definitions]
#: What the messages of a route, which stand at these rows, become by definitions from outside of them.
Read = Callable[[Route, np.ndarray, Definitions], Decoded]


@dataclass(slots=True, eq=False)
class Part:
    """The messages of one route, and what they became by what those of other routes of its format define."""

    route: Route
    rows: np.ndarray
    known: list[Definition] = field(default_factory=list)
    decoded: Decoded = field(default_factory=lambda: Decoded(no_readings()))


def decode_parts(parts: list[Part], read: Read, definitions_of: DefinitionsOf) -> dict[str, list[Definition]]:
    """Decodes each part; returns what they define, by format, in received order.

    Routes share one timeline: data that stands after its metadata is read by it, also where the route of the metadata
    is decoded later. Then what came too early is decoded again.
    """
    of_format: dict[str, list[Part]] = {}
    for part in parts:
        of_format.setdefault(part.route.format, []).append(part)
    definitions = {}
    for format_, same in of_format.items():
        defining = _decode_format(same, read, definitions_of(format_))
        if defining:
            found = [one for part in defining for one in part.decoded.definitions]
            definitions[format_] = sorted(found, key=lambda one: one.message)
    return definitions


def _decode_format(same: list[Part], read: Read, stored: Definitions) -> list[Part]:
    """Decodes the parts of one format, each by what all others define; returns those that define something."""
    defining: list[Part] = []
    for number in range(MOST_PASSES):
        is_settled = True
        for part in same:
            known = [one for other in defining if other is not part for one in other.decoded.definitions]
            if number and (known == part.known or not len(part.rows)):
                continue
            part.known, part.decoded = known, read(part.route, part.rows, stored.overlaid(known))
            is_settled = False
            if part.decoded.definitions and part not in defining:
                defining.append(part)
        if is_settled or not defining:
            break
    return [part for part in defining if part.decoded.definitions]
