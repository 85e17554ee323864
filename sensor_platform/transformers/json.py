"""JSON: an object, or an array of them, as the default route has it.

orjson parses; a payload that it refuses, or whose numbers may have lost digits, is read again by the standard library
with every literal kept, to say what is wrong with it and to let its good readings through. So is one in UTF-16 or
UTF-32, which orjson refuses: JSON in UTF-8 is none of them by chance, since theirs begins with a mark or has a zero
byte among its first two.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.leaves import MAX_DEPTH
from sensor_platform.transformers.mapping import DocumentOptions
from sensor_platform.transformers.numbers import read_float, read_integer
from sensor_platform.transformers.options import options_of
from sensor_platform.transformers.registry import transformer
from sensor_platform.transformers.table import ReadingTable

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_LONG_INTEGER = re.compile(rb"[0-9]{19}")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_BRACKETS = np.zeros(256, dtype=np.int64)
_BRACKETS[list(b"[{")] = 1
_BRACKETS[list(b"]}")] = -1


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for the document of a payload that is none."""

    code: str
    detail: str


@transformer("json", version="1", columns=True, options=DocumentOptions)
def decode_json(column: PayloadColumn, route: "Route") -> Decoded:
    table = _tabulate(column, route)
    if doubtful := table.doubtful_messages():
        table = _tabulate(column, route, exactly=frozenset(doubtful))
    return table.finish()


def _tabulate(column: PayloadColumn, route: "Route", *, exactly: frozenset[int] = frozenset()) -> ReadingTable:
    options = options_of(route, DocumentOptions)
    table = ReadingTable(column, route, mapper=options.mapper)
    for message, document in table.add_usual(_documents(column, options, exactly)):
        if type(document) is Unreadable:
            table.refuse(message, document.code, document.detail)
        else:
            table.add_document(message, document)
    return table


def _documents(column: PayloadColumn, options: DocumentOptions, exactly: frozenset[int]) -> Iterator[Any]:
    """One at a time: a whole column of them would keep the garbage collector busy."""
    if not exactly and not options.scales:
        return map(parse, column.payloads)
    return (
        parse(payload, exactly=message in exactly or (options.scales and has_long_integers(payload)))
        for message, payload in enumerate(column.payloads)
    )


def parse(payload: bytes, *, exactly: bool = False) -> Any:
    """The document; Unreadable where it is not JSON. `exactly`: with numbers beyond 64 bits told apart."""
    try:
        return _parse_exactly(payload) if exactly else orjson.loads(payload)
    except orjson.JSONDecodeError:
        return _parse_exactly(payload)


def has_long_integers(payload: bytes) -> bool:
    """Whether digits stand there that may not fit in 64 bits."""
    return _LONG_INTEGER.search(payload) is not None


def _parse_exactly(payload: bytes) -> Any:
    """The document with NaN, infinities and numbers beyond 64 bits told apart; Unreadable where it is not JSON."""
    if not payload.removeprefix(BYTE_ORDER_MARK):
        return Unreadable("empty_payload", "the payload has no bytes")
    encoding = encoding_of(payload)
    try:
        text = payload.decode(encoding)
    except UnicodeDecodeError as err:
        return Unreadable("invalid_encoding", f"byte {err.start} is not valid {encoding.removesuffix('-sig').upper()}")
    # Before the parser: it recurses, and a deep document would end the process or its stack.
    if _is_deep(text.encode()):
        return Unreadable("too_deep", f"nested deeper than {MAX_DEPTH} levels")
    try:
        return _exact.decode(text)
    except json.JSONDecodeError as err:
        return Unreadable("invalid_json", f"line {err.lineno} column {err.colno}: {err.msg}")


def encoding_of(payload: bytes) -> str:
    """UTF-8, UTF-16 or UTF-32, as Python calls them: by the byte-order mark, which decoding then leaves out, or by
    where zeros stand in the first four bytes, since JSON begins with ASCII [RFC 4627, 3].
    """
    encoding = json.detect_encoding(payload)
    is_guessed = encoding.endswith(("-le", "-be"))
    return "utf-8" if is_guessed and not payload[:4].lstrip(b"\0")[:1].isascii() else encoding


def in_utf8(payload: bytes) -> bytes:
    """The same text in UTF-8, for who cuts a payload in lines; as it is where it is no text."""
    encoding = encoding_of(payload)
    if encoding.startswith("utf-8"):
        return payload
    try:
        return payload.decode(encoding).encode()
    except UnicodeDecodeError:
        return payload


def _is_deep(payload: bytes) -> bool:
    if payload.count(b"[") + payload.count(b"{") <= MAX_DEPTH:
        return False
    code = np.frombuffer(_STRING.sub(b"", payload), dtype=np.uint8)
    return bool(np.cumsum(_BRACKETS[code]).max(initial=0) > MAX_DEPTH)


_exact = json.JSONDecoder(parse_float=read_float, parse_int=read_integer, parse_constant=float)
