"""Sparkplug nodes number what they send, 0 to 255 and over again: here it is seen when messages are missing.

Looked at after a load, outside of its transaction: a gap refuses nothing, it is said and counted. Only what was
received after the newest message of a node continues its sequence: what is made again was looked at when it was new,
and a retry asks nothing here. `seq` is no identity: one that is repeated is no gap.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from google.protobuf.message import DecodeError
from sqlalchemy.dialects.postgresql import insert

from sensor_platform.database.engine import Database
from sensor_platform.database.tables import sparkplug_node
from sensor_platform.log import get_logger
from sensor_platform.pipeline.outcome import Outcome
from sensor_platform.pipeline.standing import as_time
from sensor_platform.routes.model import Routes
from sensor_platform.settings import MqttSettings
from sensor_platform.staging.format import EPOCH
from sensor_platform.transformers.numbers import is_storable
from sensor_platform.transformers.sparkplug_b.sparkplug_b_pb2 import Payload
from sensor_platform.transformers.sparkplug_topic import Place, Type, command_topic, place_of

FORMAT = "sparkplug"
NUMBERS = 256
#: A number at most so far back was sent again, as clients do with what is in flight when they connect anew. The price:
#: a gap of 236 to 255 messages (modulo 256) looks like it.
SENT_AGAIN = 20


@dataclass(frozen=True, slots=True)
class Heard:
    """A numbered message. node: the topic in which it listens for commands; received_at: microseconds since 1970."""

    node: str
    is_birth: bool  # of the node itself: it begins a sequence
    seq: int
    received_at: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages are missing before one that was received."""

    node: str
    expected: int
    found: int


@dataclass(frozen=True, slots=True)
class Standing:
    """The newest message of a node. gaps: seen so far; gap_at: receipt after the last one, None: none since a birth."""

    seq: int
    received_at: int
    gaps: int = 0
    gap_at: int | None = None


def is_split(settings: MqttSettings) -> bool:
    """Whether collectors share the messages of a node: then nobody knows the order in which it sent them."""
    return settings.share_group is not None or settings.collector_workers > 1


def watch(database: Database, outcome: Outcome, routes: Routes, *, is_new: bool) -> list[Gap]:
    """The gaps in and before the messages of `outcome`, just loaded. Where each node stands is kept for the next.

    is_new: a node may be heard for the first time. What is made again begins no sequence: it may be of last year.
    """
    if FORMAT not in {described["format"] for described in outcome.routes.values()}:
        return []
    heard = numbered(outcome.messages, routes)
    if not heard:
        return []
    with database.begin() as connection:
        before = _standing(connection, {one.node for one in heard})
        after, gaps = follow([one for one in heard if is_new or one.node in before], before)
        if after:
            _write(connection, after)
    _say(gaps)
    return gaps


def numbered(messages: pa.Table, routes: Routes) -> list[Heard]:
    """The messages of Sparkplug routes that count in a sequence, in the order of receipt.

    Not what was redelivered or retained, nor deaths of nodes: those were written, or sent, before. A payload that
    cannot be read has no number.
    """
    encoded = pc.dictionary_encode(messages["topic"].combine_chunks())
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    places = [_place(topic, routes) for topic in encoded.dictionary.to_pylist()]
    nodes = ["" if place is None else command_topic(place) for place in places]
    is_birth = [place is not None and place.type is Type.BIRTH and place.device is None for place in places]
    topic_of = encoded.indices.to_numpy()
    passed_over = pc.or_(pc.is_valid(messages["redelivery_of"]), messages["retain"])
    counts = np.array([place is not None for place in places], dtype=bool)[topic_of] & ~passed_over.to_numpy()
    rows = np.flatnonzero(counts)
    chosen = messages.select(["received_at", "payload"]).take(pa.array(rows))
    numbers = map(sequence_of, chosen["payload"].to_pylist())
    received_at = chosen["received_at"].cast(pa.int64()).to_pylist()  # a datetime each would cost more than all else
    each = zip(topic_of[rows].tolist(), numbers, received_at, strict=True)
    found = [Heard(nodes[topic], is_birth[topic], seq, at) for topic, seq, at in each if seq is not None]
    return sorted(found, key=lambda one: one.received_at)


def sequence_of(payload: bytes) -> int | None:
    """Its number. Encoders of proto3 leave a 0 out. None: it has none that may be."""
    try:
        seq = int(Payload.FromString(payload).seq)
    except DecodeError:
        return None
    return seq if seq < NUMBERS else None


def follow(heard: Iterable[Heard], before: Mapping[str, Standing]) -> tuple[dict[str, Standing], list[Gap]]:
    """Where each node stands after what was heard, and what was missing on the way."""
    after, gaps = dict(before), []
    for one in heard:
        known = after.get(one.node)
        if known is None:
            after[one.node] = Standing(one.seq, one.received_at)
            continue
        missing = (one.seq - known.seq - 1) % NUMBERS
        if one.received_at <= known.received_at:
            continue  # a late upload: what came after it was looked at without it
        if one.is_birth:
            after[one.node] = replace(known, seq=one.seq, received_at=one.received_at, gap_at=None)
        elif missing < NUMBERS - SENT_AGAIN:
            moved = replace(known, seq=one.seq, received_at=one.received_at)
            if missing:
                gaps.append(Gap(one.node, (known.seq + 1) % NUMBERS, one.seq))
                moved = replace(moved, gaps=known.gaps + 1, gap_at=one.received_at)
            after[one.node] = moved
    return after, gaps


def _place(raw: bytes, routes: Routes) -> Place | None:
    """Who numbers the messages of the topic; None: nobody, or no route reads them as Sparkplug."""
    topic = raw.decode("utf-8", "replace")
    place = place_of(topic)
    counts = place.type in (Type.BIRTH, Type.DATA) or (place.type is Type.DEATH and place.device is not None)
    if not counts or not is_storable(topic):
        return None
    found = routes.match(topic)
    return place if found is not None and found[0].format == FORMAT and found[0].compression == "none" else None


def _standing(connection: sa.Connection, nodes: set[str]) -> dict[str, Standing]:
    columns = sparkplug_node.c
    query = sa.select(sparkplug_node).where(columns.topic.in_(sorted(nodes))).order_by(columns.topic).with_for_update()
    return {
        row.topic: Standing(row.seq, _microseconds(row.received_at), row.gaps, row.gap_at and _microseconds(row.gap_at))
        for row in connection.execute(query)
    }


def _write(connection: sa.Connection, after: Mapping[str, Standing]) -> None:
    rows = [
        {
            "topic": node,
            "seq": one.seq,
            "received_at": as_time(one.received_at),
            "gaps": one.gaps,
            "gap_at": as_time(one.gap_at),
        }
        for node, one in sorted(after.items())
    ]
    statement = insert(sparkplug_node)
    changed = {name: statement.excluded[name] for name in ("seq", "received_at", "gaps", "gap_at")}
    connection.execute(statement.on_conflict_do_update(index_elements=["topic"], set_=changed), rows)


def _microseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def _say(gaps: list[Gap]) -> None:
    """A line a node: a bad link has a gap in every load, and hundreds in some."""
    by_node: dict[str, list[Gap]] = {}
    for gap in gaps:
        by_node.setdefault(gap.node, []).append(gap)
    for node, found in by_node.items():
        first = found[0]
        get_logger().warning("sparkplug_gap", node=node, expected=first.expected, found=first.found, gaps=len(found))
