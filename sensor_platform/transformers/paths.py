"""Where something stands in a document: the plain part of JSONPath (RFC 9535), names and places, and `[*]`.

`$.data.temperature`, `$['odd name'].values[0]`; the `$.` may be left out. Not the whole language: filters and recursion
would make what a route reads depend on what else a device sends.
"""

import re
from typing import Any

#: A step that stands for every element.
EVERY = object()
#: What a path that leads nowhere gives; a JSON null is None.
NOTHING = object()

Steps = tuple[Any, ...]

_STEP = re.compile(
    r"""\.?(?P<name>[^.\[\]'"\s]+)
    | \[\s* (?: (?P<place>-?\d+) | (?P<every>\*) | '(?P<single>[^']*)' | "(?P<double>[^"]*)" ) \s*\]""",
    re.VERBOSE,
)


def parse_path(text: str) -> Steps:
    """The steps of a path. Raises ValueError with the place that is wrong."""
    rest = text.strip().removeprefix("$")
    steps: list[Any] = []
    at = 0
    while at < len(rest):
        found = _STEP.match(rest, at)
        if found is None or (found["name"] is not None and at > 0 and rest[at] != "."):
            raise ValueError(
                f'the path "{text}" is not understood from "{rest[at:]}" on: write $.name, [0] or [\'a name\']'
            )
        steps.append(_step(found))
        at = found.end()
    if not steps and text.strip() != "$":
        raise ValueError("a path has at least one step")
    return tuple(steps)


def _step(found: "re.Match[str]") -> Any:
    if found["place"] is not None:
        return int(found["place"])
    if found["every"] is not None:
        return EVERY
    return next(found[group] for group in ("name", "single", "double") if found[group] is not None)


def look_up(document: Any, steps: Steps) -> Any:
    """What stands there; NOTHING where the document has no such place. `a.0` leads into an array as `a[0]` does."""
    for step in steps:
        if type(document) is dict:
            document = document.get(step, NOTHING)
        elif type(document) is list and (place := _place(step)) is not None and -len(document) <= place < len(document):
            document = document[place]
        else:
            return NOTHING
    return document


def every(document: Any, steps: Steps) -> list[Any]:
    """What stands at a path with `[*]` in it; a path without one leads to an array, or to one thing."""
    found = [document]
    for step in steps:
        if step is EVERY:
            found = [element for one in found if type(one) is list for element in one]
        else:
            found = [one for one in (look_up(one, (step,)) for one in found) if one is not NOTHING]
    if EVERY not in steps and len(found) == 1 and type(found[0]) is list:
        return found[0]
    return found


def _place(step: Any) -> int | None:
    if type(step) is int:
        return step
    return int(step) if type(step) is str and step.isdecimal() else None
