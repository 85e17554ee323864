"""A proposal as a route file: YAML with what speaks for each route, and what was left out, as comments."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sensor_platform.discovery.proposal import Proposal, Proposed, Unrecognised
from sensor_platform.routes.model import Route

MAX_SAMPLE_CHARACTERS = 100
MAX_TOPICS = 3
MAX_LEFT_OUT = 200
#: YAML takes a key for one up to 1024; a longer one is announced.
MAX_KEY_CHARACTERS = 200


def route_file(proposal: Proposal, heading: str) -> str:
    """The text of a route file. With no route in it there is only what was left out, and it is none."""
    lines = [f"# {line}" for line in heading.splitlines()]
    if proposal.routes:
        lines.append("routes:")
    for proposed in proposal.routes:
        lines += [*(f"  # {_on_one_line(said)}" for said in _speaks_for(proposed)), *_entry(proposed.route), ""]
    lines += [f"# {said}" for said in _left_out(proposal.unrecognised)]
    return "\n".join(lines).rstrip() + "\n"


def sample_text(payload: bytes) -> str:
    """The beginning of a payload on one line of ASCII, whatever it holds."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        text = payload.hex(" ")
    return _on_one_line(text if len(text) <= MAX_SAMPLE_CHARACTERS else text[:MAX_SAMPLE_CHARACTERS] + "...")


def definition(route: Route) -> dict[str, Any]:
    """The keys of a route as the file has them."""
    entry: dict[str, Any] = {"name": route.name, "filter": route.filter, "format": route.format}
    entry |= {"compression": route.compression} if route.compression != "none" else {}
    entry |= {name: value for name in ("work_unit", "sensor") if (value := getattr(route, name)) is not None}
    return entry | ({"options": dict(route.options)} if route.options else {})


def _speaks_for(proposed: Proposed) -> Iterator[str]:
    count, topics = proposed.messages, len(proposed.topics)
    yield (
        f"confidence {proposed.confidence:.0%}: the share of its samples that decode; {count} message"
        f"{'s' if count != 1 else ''} on {topics} topic{'s' if topics != 1 else ''}"
    )
    for topic in proposed.topics[:MAX_TOPICS]:
        yield f"  {sample_text(topic.encode())}"
    yield f"sample: {sample_text(proposed.sample)}"
    yield f"time: {proposed.time}" if proposed.time is not None else "time: none was found: when it is received"
    yield from proposed.notes


def _entry(route: Route) -> Iterator[str]:
    first = True
    for line in _block(definition(route)):
        yield f"  {'- ' if first else '  '}{line}"
        first = False


def _block(entries: Mapping[str, Any]) -> Iterator[str]:
    """A mapping as block YAML. JSON's scalars and arrays are YAML's too."""
    for key, value in entries.items():
        name = _text(key)
        if len(name) > MAX_KEY_CHARACTERS:
            yield f"? {name}"
            name = ""
        if isinstance(value, Mapping) and value:
            yield f"{name}:"
            yield from (f"  {line}" for line in _block(value))
        else:
            yield f"{name}: {_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_scalar, value))}]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    """In quotes where YAML would take it for something else: `on`, `-1`, and `_1`, which is a number to it."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else _quoted(text)


def _quoted(text: str) -> str:
    """Not as JSON has it: YAML's escapes know no pairs of surrogates."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in escaped) + '"'


def _on_one_line(text: str) -> str:
    """As a comment may have it, whatever a topic or a payload holds."""
    return "".join(each if each.isascii() and each.isprintable() else ascii(each)[1:-1] for each in text)


_PLAIN = re.compile("[A-Za-z][A-Za-z0-9_-]*")
#: Words that YAML takes for something else.
_WORDS = frozenset(["true", "false", "null", "yes", "no", "on", "off", "y", "n"])


def _left_out(unrecognised: tuple[Unrecognised, ...]) -> Iterator[str]:
    if not unrecognised:
        return
    yield "Not recognised:"
    for each in unrecognised[:MAX_LEFT_OUT]:
        topic, sample = sample_text(each.topic.encode()), sample_text(each.sample)
        yield f"  {topic} ({each.messages}): {each.why}" + (f": {sample}" if sample else "")
    if len(unrecognised) > MAX_LEFT_OUT:
        yield f"  and {len(unrecognised) - MAX_LEFT_OUT} topics more"
