"""The routes that almost match a topic, and at which level they part: for a person who wonders why none does."""

from dataclasses import dataclass

from sensor_platform.routes.model import Route, Routes

NEAREST = 3


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A route, and why its filter does not match."""

    route: Route
    why: str


def nearest(routes: Routes, topic: str, *, count: int = NEAREST) -> list[NearMiss]:
    """At most `count` routes that do not match `topic`, the nearest first."""
    levels = topic.split("/")
    scored = [(_differences(route, levels), route) for route in routes if route.match(topic) is None]
    scored.sort(key=lambda pair: len(pair[0]))  # stable: the more specific one first among equals
    return [NearMiss(route, differences[0]) for differences, route in scored[:count]]


def _differences(route: Route, levels: list[str]) -> list[str]:
    """One sentence a level that differs; at least one."""
    wanted = route.topic_filter.levels
    if levels[0].startswith("$") and wanted[0] in ("+", "#"):
        return ["a wildcard in the first level matches no topic that begins with $"]
    open_end = wanted[-1] == "#"
    fixed = wanted[:-1] if open_end else wanted
    different = [
        f'level {place} is "{level}", the filter has "{want}"'
        for place, (level, want) in enumerate(zip(levels, fixed, strict=False), start=1)
        if want not in ("+", level)
    ]
    missing = len(fixed) - len(levels)
    if missing > 0 or (missing < 0 and not open_end):
        sentence = f"the topic has {len(levels)} levels, the filter {'at least ' if open_end else ''}{len(fixed)}"
        different += [sentence] * abs(missing)
    return different
