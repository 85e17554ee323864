"""Data payloads of Sparkplug B read column-wise from their bytes: all metrics of all messages in step.

A Python call a metric costs more than parsing a whole payload. Read here is what data messages consist of: metrics with
an alias, a time, a datatype, flags, and one value that is a number. Everything else (names, texts, properties, fields
that stand twice, bytes that are no protobuf) is left to the protobuf library, message by message; the two are held
against each other in a property test.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sensor_platform.transformers.sparkplug_shapes import Alike, alike
from sensor_platform.transformers.table import MAX_METRICS

#: Fields of Metric: what is kept of each. Tags are field number << 3 | wire type.
ALIAS, TIMESTAMP, DATATYPE, HISTORICAL, TRANSIENT, NULL = 0x10, 0x18, 0x20, 0x28, 0x30, 0x38
INT, LONG, FLOAT, DOUBLE, BOOLEAN = 0x50, 0x58, 0x65, 0x69, 0x70
#: Fields of Payload.
PAYLOAD_TIMESTAMP, METRICS, SEQ = 0x08, 0x12, 0x18

KIND_OF = {INT: 10, LONG: 11, FLOAT: 12, DOUBLE: 13, BOOLEAN: 14}
_SLOT_OF = {ALIAS: 0, TIMESTAMP: 1, DATATYPE: 2, NULL: 3, HISTORICAL: 4, TRANSIENT: 5} | dict.fromkeys(KIND_OF, 6)

#: Fewer payloads than these the library reads sooner.
LEAST_IN_STEP = 32
#: Bytes that may be read past the end of the last payload.
_MARGIN = bytes(16)

_u8, _u64, _i64 = np.uint8, np.uint64, np.int64


@dataclass(frozen=True, slots=True)
class WireMetrics:
    """Metrics of simple payloads, message by message. What a message does not say of a metric is -1, kind 0.

    readable: per payload; false: it is not simple, and nothing of it stands in the other columns.
    bits: an integer, the boolean, or the bits of a float (32) or double (64).
    """

    readable: np.ndarray
    payload_timestamp: np.ndarray  # per payload, -1: none
    message: np.ndarray
    ordinal: np.ndarray
    alias: np.ndarray  # int64
    timestamp: np.ndarray
    datatype: np.ndarray
    is_null: np.ndarray
    kind: np.ndarray  # field number of the value
    bits: np.ndarray  # uint64


class _Bytes:
    """All payloads behind each other, readable at any place."""

    def __init__(self, payloads: list[bytes]) -> None:
        joined = b"".join([*payloads, _MARGIN])
        self.bytes = np.frombuffer(joined, dtype=_u8)
        # A number of 8 bytes may start at any byte.
        self.words = np.ndarray(shape=(len(joined) - 7,), dtype="<u8", buffer=joined, strides=(1,))

    def varints(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and lengths; a length of 0 where it is not whole within 8 bytes."""
        word = self.words[at]
        stops = ~word & _u64(0x8080808080808080)
        # All bits up to and with the first stop bit; their number is 8 times the length.
        within = stops ^ (stops - _u64(1))
        length = np.where(stops == 0, 0, (np.bitwise_count(within) + _u8(7)) >> _u8(3)).astype(_i64)
        word &= within & _u64(0x7F7F7F7F7F7F7F7F)
        word = (word & _u64(0x007F007F007F007F)) | ((word & _u64(0x7F007F007F007F00)) >> _u64(1))
        word = (word & _u64(0x00003FFF00003FFF)) | ((word & _u64(0x3FFF00003FFF0000)) >> _u64(2))
        word = (word & _u64(0x000000000FFFFFFF)) | ((word & _u64(0x0FFFFFFF00000000)) >> _u64(4))
        return word, length


def read_simple(payloads: list[bytes]) -> WireMetrics:
    """The metrics of those payloads that are simple."""
    sizes = np.fromiter(map(len, payloads), dtype=_i64, count=len(payloads))
    ends = np.cumsum(sizes)
    starts = ends - sizes
    data = _Bytes(payloads)
    parts = [_of_shape(each) for each in alike(payloads, data.words, starts, sizes)]
    rest = np.ones(len(payloads), dtype=bool)
    for _, rows in parts:
        rest[rows] = False
    # What may hold too many metrics is for the library, which refuses it: here each would be a step of its own.
    crowded = [row for row in np.flatnonzero(sizes > 2 * MAX_METRICS) if payloads[row].count(METRICS) > MAX_METRICS]
    rest[crowded] = False
    left = np.flatnonzero(rest)
    if len(left) >= LEAST_IN_STEP or not parts:
        parts.append((_in_step(data, starts[left], ends[left], left), left))
    readable, times = np.zeros(len(payloads), dtype=bool), np.full(len(payloads), -1, dtype=_i64)
    for part, rows in parts:
        readable[rows], times[rows] = part.readable, part.payload_timestamp
    columns = {
        name: getattr(parts[0][0], name)
        if len(parts) == 1
        else np.concatenate([getattr(part, name) for part, _ in parts])
        for name in ("message", "ordinal", "alias", "timestamp", "datatype", "is_null", "kind", "bits")
    }
    return WireMetrics(readable=readable, payload_timestamp=times, **columns)


def _of_shape(found: Alike) -> tuple[WireMetrics, np.ndarray]:
    metrics, count = found.template.metrics, len(found.rows)

    def each(entries: list[int], dtype: type) -> np.ndarray:
        return np.tile(np.array(entries, dtype=dtype), count)

    wire = WireMetrics(
        readable=np.ones(count, dtype=bool),
        payload_timestamp=found.payload_timestamp,
        message=np.repeat(found.rows, len(metrics)),
        ordinal=each(list(range(len(metrics))), _i64),
        alias=each([metric.alias for metric in metrics], _i64),
        timestamp=found.timestamp.ravel(),
        datatype=each([metric.datatype for metric in metrics], _i64),
        is_null=each([metric.is_null for metric in metrics], bool),
        kind=each([metric.kind for metric in metrics], np.int8),
        bits=found.bits.ravel(),
    )
    return wire, found.rows


def _in_step(data: _Bytes, starts: np.ndarray, ends: np.ndarray, places: np.ndarray) -> WireMetrics:
    """Payloads of any shape. `message` of what is found is a place in the whole piece."""
    readable, timestamps, message, ordinal, at, end = _split(data, starts, ends)
    slots, kinds, metric_ok = _read_metrics(data, at, end)
    if not metric_ok.all():
        readable[message[~metric_ok]] = False
    kept = readable[message]
    columns = [places[message], ordinal, kinds, *slots]
    message, ordinal, kinds, *slots = columns if kept.all() else [column[kept] for column in columns]
    alias, timestamp, datatype, null, _, _, bits = slots
    return WireMetrics(
        readable=readable,
        payload_timestamp=timestamps,
        message=message,
        ordinal=ordinal,
        alias=alias.view(_i64),
        timestamp=timestamp.view(_i64),
        datatype=datatype.view(_i64),
        is_null=null == 1,
        kind=kinds,
        bits=bits,
    )


def _split(data: _Bytes, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, ...]:
    """Where the metrics of each payload begin and end, payload by payload."""
    count = len(starts)
    readable = np.ones(count, dtype=bool)
    timestamps = np.full(count, -1, dtype=_i64)
    seen_seq = np.zeros(count, dtype=bool)
    metrics = np.zeros(count, dtype=_i64)
    cursor = starts.copy()
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    active = np.flatnonzero(cursor < ends)
    while len(active):
        at = cursor[active]
        tag = data.bytes[at]
        number, length = data.varints(at + 1)
        after = at + 1 + length
        is_metric, is_time, is_seq = tag == METRICS, tag == PAYLOAD_TIMESTAMP, tag == SEQ
        ok = (length > 0) & (is_metric | is_time | is_seq)
        ok &= ~(is_time & (timestamps[active] >= 0)) & ~(is_seq & seen_seq[active])
        # Compared before it is added: a length of 2^56 must not pass the end unseen.
        ok &= (after <= ends[active]) & (~is_metric | (number <= (ends[active] - after).clip(0).astype(_u64)))
        timestamps[active[ok & is_time]] = number[ok & is_time].view(_i64)
        seen_seq[active[ok & is_seq]] = True
        size = np.where(is_metric & ok, number, _u64(0)).view(_i64)
        chosen = ok & is_metric
        rows = active[chosen]
        found.append((rows, metrics[rows], after[chosen], after[chosen] + size[chosen]))
        metrics[rows] += 1
        cursor[active] = after + size
        readable[active[~ok]] = False
        active = active[ok & (cursor[active] < ends[active])]
    message, ordinal, at, end = (np.concatenate(column) if column else np.zeros(0, _i64) for column in _columns(found))
    order = np.lexsort((ordinal, message))
    return readable, timestamps, message[order], ordinal[order], at[order], end[order]


def _columns(found: Sequence[tuple[np.ndarray, ...]]) -> list[list[np.ndarray]]:
    return [list(column) for column in zip(*found, strict=True)] if found else [[], [], [], []]


def _read_metrics(data: _Bytes, at: np.ndarray, ends: np.ndarray) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Per metric: what each slot holds (-1: absent), the kind of its value, and whether it is simple."""
    count = len(at)
    slots = [np.full(count, -1, dtype=_i64).view(_u64) for _ in range(7)]
    filled = np.zeros(count, dtype=_u8)
    kinds = np.zeros(count, dtype=np.int8)
    ok = np.ones(count, dtype=bool)
    cursor = at.copy()
    active = np.flatnonzero(cursor < ends)
    while len(active):
        here = cursor[active]
        tags = data.bytes[here]
        after = np.full(len(active), -1, dtype=_i64)
        for tag in np.unique(tags).tolist():
            slot = _SLOT_OF.get(tag)
            if slot is None:
                continue
            same = np.flatnonzero(tags == tag)
            rows, value_at = active[same], here[same] + 1
            length: np.ndarray | np.int64
            if tag == DOUBLE:
                value, length = data.words[value_at], _i64(8)
            elif tag == FLOAT:
                value, length = data.words[value_at] & _u64(0xFFFFFFFF), _i64(4)
            else:
                value, length = data.varints(value_at)
            once = filled[rows] & _u8(1 << slot) == 0
            filled[rows] |= _u8(1 << slot)
            good = once & (length > 0) & _fits(tag, value)
            slots[slot][rows] = value
            if slot == 6:
                kinds[rows] = KIND_OF[tag]
            after[same] = np.where(good, value_at + length, -1)
        good = (after >= 0) & (after <= ends[active])
        ok[active[~good]] = False
        cursor[active] = after
        active = active[good & (after < ends[active])]
    return slots, kinds, ok


def _fits(tag: int, value: np.ndarray) -> np.ndarray:
    """The library cuts what is longer than its field; that is left to it. An alias has 63 bits here."""
    if tag in (INT, DATATYPE):
        return value <= _u64(0xFFFFFFFF)
    if tag in (NULL, HISTORICAL, TRANSIENT, BOOLEAN):
        return value <= _u64(1)
    return np.ones(len(value), dtype=bool)
