"""Payloads of one shape: the same metrics in the same order, each as wide as in the others.

A node that publishes in a cycle sends little else. One payload is taken apart as the template; that others are alike is
seen by comparing all their bytes at once, those of numbers aside. Then every number stands at a known place.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from sensor_platform.transformers.table import MAX_METRICS

#: Fewer payloads than these are not worth a template.
LEAST_ALIKE = 32
#: Templates that are tried in one piece; what is left is read in step.
MAX_TEMPLATES = 16

_u64 = np.uint64
#: Tag -> field number of a value, and bits of a byte that the shape fixes.
_VALUES = {0x50: (10, 0x80), 0x58: (11, 0x80), 0x65: (12, 0x00), 0x69: (13, 0x00), 0x70: (14, 0xFE)}
_FIXED_BYTES = {0x65: 4, 0x69: 8}
#: A varint of so many bytes fits in its field, whatever it holds.
_MAX_BYTES = {0x50: 4, 0x58: 8, 0x70: 1, 0x18: 8, 0x08: 8}


class _NotSimpleError(Exception):
    """The payload is for the library."""


@dataclass(slots=True)
class Metric:
    """Of a template. Numbers that vary are places in the payload, with the bytes they take; 0 bytes: not there."""

    alias: int = -1
    datatype: int = -1
    is_null: bool = False
    kind: int = 0
    timestamp: tuple[int, int] = (0, 0)
    value: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Template:
    """mask: per byte, the bits that are the same in every payload of the shape."""

    payload: bytes
    mask: bytearray
    timestamp: tuple[int, int] = (0, 0)
    metrics: list[Metric] = field(default_factory=list)


def template_of(payload: bytes) -> Template | None:
    """None: the payload is not simple."""
    template = Template(payload, bytearray(b"\xff" * len(payload)))
    try:
        _read(template)
    except (_NotSimpleError, IndexError):
        return None
    return template


def _read(template: Template) -> None:
    payload, at, seen = template.payload, 0, set()
    while at < len(payload):
        tag = payload[at]
        number, after = _varint(payload, at + 1)
        if tag == 0x12:
            if after + number > len(payload):
                raise _NotSimpleError
            if len(template.metrics) == MAX_METRICS:
                raise _NotSimpleError
            template.metrics.append(_metric(template, after, after + number))
            at = after + number
            continue
        if tag not in (0x08, 0x18) or tag in seen:
            raise _NotSimpleError
        seen.add(tag)
        place = _varying(template, at + 1, after, tag, 0x80)
        if tag == 0x08:
            template.timestamp = place
        at = after


def _metric(template: Template, at: int, end: int) -> Metric:
    payload, metric, seen = template.payload, Metric(), set()
    while at < end:
        tag = payload[at]
        slot = 0 if tag in _VALUES else tag
        if slot in seen:
            raise _NotSimpleError
        seen.add(slot)
        if tag in _FIXED_BYTES:
            number, after = 0, at + 1 + _FIXED_BYTES[tag]
        else:
            number, after = _varint(payload, at + 1)
        if tag in _VALUES:
            metric.kind, bits = _VALUES[tag]
            metric.value = _varying(template, at + 1, after, tag, bits)
        elif tag == 0x18:
            metric.timestamp = _varying(template, at + 1, after, tag, 0x80)
        elif tag == 0x10:
            metric.alias = number
        elif tag == 0x20:
            metric.datatype = number
        elif tag in (0x28, 0x30, 0x38):
            metric.is_null = metric.is_null or (tag == 0x38 and number == 1)
        else:
            raise _NotSimpleError
        if (tag == 0x20 and number > 0xFFFFFFFF) or (tag in (0x28, 0x30, 0x38, 0x70) and number > 1):
            raise _NotSimpleError
        at = after
    if at != end:
        raise _NotSimpleError
    return metric


def _varying(template: Template, at: int, after: int, tag: int, bits: int) -> tuple[int, int]:
    size = after - at
    if size > _MAX_BYTES.get(tag, 8):
        raise _NotSimpleError
    template.mask[at:after] = bytes([bits]) * size
    return at, size


def _varint(payload: bytes, at: int) -> tuple[int, int]:
    number = 0
    for place in range(8):
        byte = payload[at + place]
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return number, at + place + 1
    raise _NotSimpleError


@dataclass(frozen=True, slots=True)
class Alike:
    """Payloads of one template: rows, and a matrix (payload, metric) of what varies."""

    template: Template
    rows: np.ndarray
    payload_timestamp: np.ndarray
    timestamp: np.ndarray
    bits: np.ndarray


def alike(payloads: list[bytes], words: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> Iterator[Alike]:
    """Groups of payloads of one shape; `words` are the 8 bytes from every place on of all payloads joined."""
    left = np.arange(len(payloads))
    for _ in range(MAX_TEMPLATES):
        if len(left) < LEAST_ALIKE:
            return
        size = int(sizes[left[0]])
        same = left[sizes[left] == size]
        template = template_of(payloads[int(left[0])]) if len(same) >= LEAST_ALIKE and size else None
        if template is None:
            # Not the first of these: they are left to others.
            left = left[sizes[left] != size]
            continue
        found = same[_matches(template, words, starts[same])]
        yield _decoded(template, found, words, starts[found])
        left = left[~np.isin(left, found)]


def _matches(template: Template, words: np.ndarray, starts: np.ndarray) -> np.ndarray:
    pattern = np.frombuffer(template.payload + bytes(-len(template.payload) % 8), dtype="<u8")
    mask = np.frombuffer(bytes(template.mask) + bytes(-len(template.mask) % 8), dtype="<u8")
    at = starts[:, None] + np.arange(0, 8 * len(pattern), 8)
    return np.flatnonzero((((words[at] ^ pattern) & mask) == 0).all(axis=1))


def _decoded(template: Template, rows: np.ndarray, words: np.ndarray, starts: np.ndarray) -> Alike:
    metrics = template.metrics
    values = _numbers(
        [metric.value for metric in metrics], words, starts, [metric.kind in (12, 13) for metric in metrics]
    )
    times = _numbers([metric.timestamp for metric in metrics], words, starts, [False] * len(metrics))
    payload_times = _numbers([template.timestamp], words, starts, [False])
    return Alike(template, rows, payload_times[:, 0].view(np.int64), times.view(np.int64), values)


def _numbers(places: list[tuple[int, int]], words: np.ndarray, starts: np.ndarray, fixed: list[bool]) -> np.ndarray:
    """(payload, place): what stands there; all ones (-1) where nothing does."""
    at = np.array([place for place, _ in places], dtype=np.int64)
    sizes = np.array([size for _, size in places], dtype=np.int64)
    is_fixed = np.array(fixed, dtype=bool)
    word = words[starts[:, None] + at]
    word &= np.array([2 ** (8 * size) - 1 for size in sizes.tolist()], dtype=_u64)
    varints = (sizes > 0) & ~is_fixed
    if varints.all():
        word = _compressed(word)
    elif varints.any():
        word[:, varints] = _compressed(word[:, varints])
    if not sizes.all():
        word[:, sizes == 0] = _u64(2**64 - 1)
    return word


def _compressed(word: np.ndarray) -> np.ndarray:
    """The number of a varint, from its bytes."""
    word = word & _u64(0x7F7F7F7F7F7F7F7F)
    word = (word & _u64(0x007F007F007F007F)) | ((word & _u64(0x7F007F007F007F00)) >> _u64(1))
    word = (word & _u64(0x00003FFF00003FFF)) | ((word & _u64(0x3FFF00003FFF0000)) >> _u64(2))
    return np.asarray((word & _u64(0x000000000FFFFFFF)) | ((word & _u64(0x0FFFFFFF00000000)) >> _u64(4)))
