"""Which live channel a topic belongs to, as LIVE_CHANNELS says.

Either one template for every route, with its captures (`{work_unit}/{sensor}`), or `FILTER=CHANNEL` pairs of which the
first that matches wins: `factory/{work_unit}/sensors/+/data=plant/{work_unit},#=everything/else`.
"""

from functools import lru_cache
from string import Formatter

from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.filters import CAPTURES, TopicFilter, covers, parse_filter
from sensor_platform.routes.model import Routes

#: Topics whose channel is remembered.
CACHE_TOPICS = 65_536


class Channels:
    """The mapping; `of(topic)` is None where a topic has no channel, and its readings are then not streamed."""

    def __init__(self, mapping: str, routes: Routes) -> None:
        self._routes = routes
        self._template, self._pairs = _parse(mapping)
        self.of = lru_cache(maxsize=CACHE_TOPICS)(self._of)

    def _of(self, topic: str) -> str | None:
        if self._template is not None:
            found = self._routes.match(topic)
            return None if found is None else _fill(self._template, found[1])
        for topic_filter, template in self._pairs:
            captured = topic_filter.match(topic)
            if captured is not None:
                return _fill(template, captured)
        return None


class Wish:
    """The channels that a client asked for, as MQTT filters over channel names: `press-1/+`, `#`."""

    def __init__(self, filters: list[str]) -> None:
        self._filters = [parse_filter(text) for text in filters]
        self.covers = lru_cache(maxsize=CACHE_TOPICS)(self._covers)

    def _covers(self, channel: str) -> bool:
        name = TopicFilter(tuple(channel.split("/")))
        return any(covers(wanted, name, literally=True) for wanted in self._filters)


def _parse(mapping: str) -> tuple[str | None, list[tuple[TopicFilter, str]]]:
    if "=" not in mapping:
        return _template(mapping.strip(), mapping), []
    pairs = []
    for pair in mapping.split(","):
        text, equals, template = pair.strip().rpartition("=")
        if not equals:
            raise _refused(mapping, f'"{pair.strip()}" is no FILTER=CHANNEL pair')
        try:
            topic_filter = parse_filter(text.strip())
        except ValueError as err:
            raise _refused(mapping, str(err)) from err
        captures = tuple(name for _, name in topic_filter.captures)
        pairs.append((topic_filter, _template(template.strip(), mapping, captures)))
    return None, pairs


def _template(text: str, mapping: str, captures: tuple[str, ...] = CAPTURES) -> str:
    try:
        names = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    except ValueError as err:
        raise _refused(mapping, str(err)) from err
    unknown = [name for name in names if name not in captures]
    if unknown or not text:
        known = ", ".join(f"{{{name}}}" for name in captures) or "none, since its filter has no capture"
        raise _refused(mapping, f'the channel "{text}" may use: {known}')
    return text


def _fill(template: str, captured: dict[str, str]) -> str | None:
    try:
        return template.format_map(captured)
    except KeyError:  # a route without that capture
        return None


def _refused(mapping: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"LIVE_CHANNELS={mapping}: {reason}. Accepted: one template such as {{work_unit}}/{{sensor}}, "
        "or comma-separated FILTER=CHANNEL pairs"
    )
