"""CBOR (RFC 8949): a document, read by the rules of JSON."""

from typing import TYPE_CHECKING

from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.mapping import DocumentOptions
from sensor_platform.transformers.packed import decode_packed, read_cbor
from sensor_platform.transformers.registry import transformer

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route


@transformer("cbor", version="1", columns=True, options=DocumentOptions)
def decode_cbor(column: PayloadColumn, route: "Route") -> Decoded:
    return decode_packed(column, route, read_cbor, code="invalid_cbor")
