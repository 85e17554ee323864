"""MessagePack: a document, read by the rules of JSON."""

from typing import TYPE_CHECKING

from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.mapping import DocumentOptions
from sensor_platform.transformers.packed import decode_packed, read_msgpack
from sensor_platform.transformers.registry import transformer

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route


@transformer("msgpack", version="1", columns=True, options=DocumentOptions)
def decode_msgpack(column: PayloadColumn, route: "Route") -> Decoded:
    return decode_packed(column, route, read_msgpack, code="invalid_msgpack")
