"""The device families whose routes come along: does one of them have these topics already?"""

from collections.abc import Sequence
from functools import cache

from sensor_platform.routes.file import parse_routes
from sensor_platform.routes.included import families, family_text
from sensor_platform.routes.model import Routes

#: Share of the topics that a family must read.
LEAST_SHARE = 0.5


def family_of(topics: Sequence[str]) -> str | None:
    """The family that reads most of `topics`, at least half of them; None: there is none."""
    shares = {name: _share(routes, topics) for name, routes in _routes().items()}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] >= LEAST_SHARE else None


def _share(routes: Routes, topics: Sequence[str]) -> float:
    found = [routes.match(topic) for topic in topics]
    return sum(match is not None and not match[0].ignore for match in found) / len(topics)


@cache
def _routes() -> dict[str, Routes]:
    return {name: parse_routes(family_text(name), source=f"devices/{name}.yaml") for name in families()}
