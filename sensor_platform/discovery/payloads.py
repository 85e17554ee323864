"""What a payload looks like: the strictest kind that it can be, from its bytes alone."""

import csv
import io
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sensor_platform.routes.model import Compression
from sensor_platform.transformers.compression import unpacked
from sensor_platform.transformers.json import Unreadable, parse
from sensor_platform.transformers.leaves import RefusedValueError
from sensor_platform.transformers.numbers import read_number
from sensor_platform.transformers.packed import read_cbor, read_msgpack

MAGIC: tuple[tuple[bytes, Compression], ...] = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
MAX_BYTES = 4 * 1024 * 1024
_LINE = re.compile(r"[^\s,=]+(?:,[^\s,=]+=[^\s,=]+)* +[^\s,=]+=[^\s]+(?: -?\d+)?")
SENML = frozenset({"v", "vs", "vb", "vd", "bn", "bv", "s"})

#: What a topic may be, the strictest first. The last two are not recognised.
KINDS = ("sparkplug", "opcua", "senml", "json", "ndjson", "influx", "csv", "value", "cbor", "msgpack", "text", "binary")


@dataclass(frozen=True, slots=True)
class Look:
    """kind: one of KINDS, or "empty". documents: those of the payload, where it has any."""

    kind: str
    compression: Compression = "none"
    documents: tuple[Any, ...] = ()


def look_at(payload: bytes) -> Look:
    """What `payload` is."""
    for magic, compression in MAGIC:
        if payload.startswith(magic):
            with suppress(RefusedValueError):
                inner = _uncompressed(unpacked(payload, compression, max_bytes=MAX_BYTES))
                return Look(inner.kind, compression, inner.documents)
    return _uncompressed(payload)


def _uncompressed(payload: bytes) -> Look:
    if not payload.strip():
        return Look("empty")
    document = parse(payload)
    if type(document) is dict:
        return Look(_kind_of_object(document), documents=(document,))
    if type(document) is list:
        return _look_at_array(document)
    if type(document) is not Unreadable:
        return Look("value" if isinstance(document, bool | int | float) else "text")
    return _look_at_text(payload) or _look_at_packed(payload) or Look("binary")


def _kind_of_object(document: dict[str, Any]) -> str:
    return "opcua" if str(document.get("MessageType", "")).startswith("ua-") else "json"


def _look_at_array(document: list[Any]) -> Look:
    if not document or not all(type(element) is dict for element in document):
        return Look("text")
    first: dict[str, Any] = document[0]
    is_senml = ("n" in first or "bn" in first) and all(SENML & element.keys() for element in document)
    return Look("senml" if is_senml else "json", documents=tuple(document))


def _look_at_text(payload: bytes) -> Look | None:
    try:
        text = payload.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return None
    if not all(character.isprintable() or character.isspace() for character in text):
        return None
    lines = text.splitlines()
    parsed = [parse(line.encode()) for line in lines if line.strip()]
    if len(parsed) > 1 and all(type(document) is dict for document in parsed):
        return Look("ndjson", documents=tuple(parsed))
    if all(_LINE.fullmatch(line.strip()) for line in lines):
        return Look("influx")
    if _is_csv(text):
        return Look("csv")
    return Look("value" if read_number(text) is not None else "text")


def _is_csv(text: str) -> bool:
    """A header of words and at least one row, all equally wide."""
    between = ";" if text.split("\n", 1)[0].count(";") > text.split("\n", 1)[0].count(",") else ","
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=between, strict=True) if row]
    except csv.Error:
        return False
    wide = {len(row) for row in rows}
    names = [name.strip() for name in rows[0]]
    return len(rows) > 1 and len(wide) == 1 and wide != {1} and all(names) and not any(map(read_number, names))


def _look_at_packed(payload: bytes) -> Look | None:
    """Only what is an object, or an array of them: nearly any bytes are a number to these formats."""
    for kind, read in {"cbor": read_cbor, "msgpack": read_msgpack}.items():
        with suppress(RefusedValueError):
            document = read(payload)
            found = document if type(document) is list else [document]
            if found and all(type(each) is dict and each for each in found):
                return Look(kind, documents=tuple(found))
    return None
