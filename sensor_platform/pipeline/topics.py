"""Each different topic judged once: the route that reads it with what it captures, or why nobody does."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensor_platform.routes.model import Route, Routes
from sensor_platform.transformers.contract import WHOLE_MESSAGE, Refusal
from sensor_platform.transformers.numbers import is_storable, shown


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one topic: a route with its captures, or a refusal's code and detail."""

    topic: str
    route: Route | None
    captures: dict[str, str]
    code: str = ""
    detail: str = ""


def judge_topics(messages: pa.Table, routes: Routes) -> tuple[list[Verdict], np.ndarray]:
    """A verdict for each different topic, and which of them each message has."""
    encoded = pc.dictionary_encode(messages["topic"].combine_chunks())
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    verdicts = [_judge_topic(topic, routes) for topic in encoded.dictionary.to_pylist()]
    return verdicts, encoded.indices.to_numpy().astype(np.int64)


def _judge_topic(raw: bytes, routes: Routes) -> Verdict:
    try:
        topic = raw.decode()
    except UnicodeDecodeError as err:
        return Verdict("", None, {}, "invalid_topic", f"the topic is not valid UTF-8 at byte {err.start}")
    if not is_storable(topic):
        return Verdict(topic, None, {}, "invalid_topic", f"the topic {shown(topic)} holds U+0000")
    found = routes.match(topic)
    if found is None:
        return Verdict(topic, None, {}, "no_route", f"no route's filter matches the topic {shown(topic)}")
    return Verdict(topic, *found)


def refuse_topics(verdicts: list[Verdict], topic_of: np.ndarray, open_rows: np.ndarray) -> list[Refusal]:
    """What no route takes, of the rows that are open (a mask over the messages)."""
    bad = np.array([verdict.route is None for verdict in verdicts], dtype=bool)[topic_of]
    return [
        Refusal(row, WHOLE_MESSAGE, verdicts[topic_of[row]].code, verdicts[topic_of[row]].detail)
        for row in np.flatnonzero(open_rows & bad).tolist()
    ]


def by_route(verdicts: list[Verdict]) -> Iterator[tuple[Route, list[int]]]:
    """Each route that decodes, with the topics that are its own."""
    topics: dict[str, tuple[Route, list[int]]] = {}
    for index, verdict in enumerate(verdicts):
        if verdict.route is not None and not verdict.route.ignore:
            topics.setdefault(verdict.route.name, (verdict.route, []))[1].append(index)
    yield from topics.values()
