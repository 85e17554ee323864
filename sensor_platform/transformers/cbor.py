"""CBOR (RFC 8949): a document, read by the rules of JSON."""

from typing import TYPE_CHECKING

from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.leaves import RefusedValueError
from sensor_platform.transformers.mapping import DocumentOptions
from sensor_platform.transformers.numbers import shown
from sensor_platform.transformers.packed import read_cbor
from sensor_platform.transformers.registry import options_of, transformer
from sensor_platform.transformers.table import ReadingTable

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

#: What the library takes; `plain` then holds documents to the depth of JSON.
LIBRARY_DEPTH = 200


@transformer("cbor", version="1", columns=True, options=DocumentOptions)
def decode_cbor(column: PayloadColumn, route: "Route") -> Decoded:
    table = ReadingTable(column, route, mapper=options_of(route, DocumentOptions).mapper, any_number=True)
    for message, payload in enumerate(column.payloads):
        if not payload:
            table.refuse(message, "empty_payload", "the payload has no bytes")
            continue
        try:
            table.add_document(message, read_cbor(payload, max_depth=LIBRARY_DEPTH))
        except RefusedValueError as refused:
            table.refuse(message, refused.code, refused.detail)
        except (ValueError, OverflowError) as err:  # an integer too large to be shown, or to be scaled
            table.refuse(message, "invalid_cbor", shown(str(err)))
    return table.finish()
