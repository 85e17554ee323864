"""Packed formats (CBOR, MessagePack): documents, read by the rules of JSON, and what they can hold and JSON cannot."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import cbor2
import msgpack

from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.leaves import MAX_DEPTH, RefusedValueError
from sensor_platform.transformers.mapping import DocumentOptions
from sensor_platform.transformers.numbers import shown
from sensor_platform.transformers.options import options_of
from sensor_platform.transformers.table import ReadingTable

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

#: What the library for CBOR takes; `plain` then holds documents to the depth of JSON.
LIBRARY_DEPTH = 200
#: How the library for MessagePack is to give timestamps.
TIMES_AS_DATETIME = 3
#: Tags of CBOR that stand for something said before: a few bytes of them unfold to a document without end.
REFERENCES = (25, 28, 29, 256)


def decode_packed(column: PayloadColumn, route: "Route", read: Callable[[bytes], Any], *, code: str) -> Decoded:
    """Readings of a column of documents. read: `read_cbor` or `read_msgpack`; code: of one that cannot be used."""
    table = ReadingTable(column, route, mapper=options_of(route, DocumentOptions).mapper, any_number=True)
    for message, payload in enumerate(column.payloads):
        if not payload:
            table.refuse(message, "empty_payload", "the payload has no bytes")
            continue
        try:
            table.add_document(message, read(payload))
        except RefusedValueError as refused:
            table.refuse(message, refused.code, refused.detail)
        except (ValueError, OverflowError) as err:  # an integer too large to be shown, or to be scaled
            table.refuse(message, code, shown(str(err)))
    return table.finish()


def read_cbor(payload: bytes, *, max_depth: int = LIBRARY_DEPTH) -> Any:
    """The document in the terms of JSON. Raises RefusedValueError where it is no CBOR, or refers to itself."""
    try:
        return plain(cbor2.loads(payload, max_depth=max_depth, semantic_decoders=dict.fromkeys(REFERENCES, _refuse)))
    except (cbor2.CBORError, ArithmeticError, ValueError, TypeError) as err:
        raise RefusedValueError("invalid_cbor", shown(str(err.__cause__ or err))) from err


def read_msgpack(payload: bytes) -> Any:
    """The document in the terms of JSON. Raises RefusedValueError where it is no MessagePack."""
    try:
        return plain(msgpack.unpackb(payload, strict_map_key=False, timestamp=TIMES_AS_DATETIME))
    except (msgpack.UnpackException, ArithmeticError, ValueError, TypeError) as err:
        raise RefusedValueError("invalid_msgpack", shown(str(err) or type(err).__name__)) from err


def _refuse(_decoder: Any) -> Any:
    raise ValueError("references inside a document (tags 25, 28, 29, 256) are not read")


def plain(document: Any, depth: int = 0) -> Any:
    """`document` with names as texts, bytes as hexadecimal, times as ISO 8601, undefined as null.

    Raises RefusedValueError where it is nested deeper than a document of JSON may be.
    """
    if depth > MAX_DEPTH:
        raise RefusedValueError("too_deep", f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(document, dict):
        return {_name(name): plain(entry, depth + 1) for name, entry in document.items()}
    if type(document) in (list, tuple):  # MessagePack's extensions are tuples, too
        return [plain(entry, depth + 1) for entry in document]
    if isinstance(document, cbor2.CBORTag):
        return plain(document.value, depth + 1)
    return _leaf(document)


def _leaf(leaf: Any) -> Any:
    match leaf:
        case bool() | int() | float() | str() | None:
            return leaf
        case Decimal():
            return float(leaf)
        case bytes() | bytearray():
            return leaf.hex()
        case datetime():
            return leaf.isoformat()
        case _:
            return None if leaf is cbor2.undefined else str(leaf)


def _name(name: Any) -> str:
    return name if type(name) is str else str(name)
