"""What packed formats (CBOR, MessagePack) can hold and JSON cannot, in the terms of JSON."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import cbor2

from sensor_platform.transformers.leaves import MAX_DEPTH, RefusedValueError
from sensor_platform.transformers.numbers import shown

#: Tags of CBOR that stand for something said before: a few bytes of them unfold to a document without end.
REFERENCES = (25, 28, 29, 256)


def read_cbor(payload: bytes, *, max_depth: int) -> Any:
    """The document in the terms of JSON. Raises RefusedValueError where it is no CBOR, or refers to itself."""
    try:
        return plain(cbor2.loads(payload, max_depth=max_depth, semantic_decoders=dict.fromkeys(REFERENCES, _refuse)))
    except (cbor2.CBORError, ArithmeticError, ValueError, TypeError) as err:
        raise RefusedValueError("invalid_cbor", shown(str(err.__cause__ or err))) from err


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
