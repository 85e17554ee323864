"""MessagePack: a document, read by the rules of JSON."""

from typing import TYPE_CHECKING

import msgpack

from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.leaves import RefusedValueError
from sensor_platform.transformers.mapping import DocumentOptions
from sensor_platform.transformers.numbers import shown
from sensor_platform.transformers.packed import plain
from sensor_platform.transformers.registry import options_of, transformer
from sensor_platform.transformers.table import ReadingTable

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

TIMES_AS_DATETIME = 3


@transformer("msgpack", version="1", columns=True, options=DocumentOptions)
def decode_msgpack(column: PayloadColumn, route: "Route") -> Decoded:
    table = ReadingTable(column, route, mapper=options_of(route, DocumentOptions).mapper, any_number=True)
    for message, payload in enumerate(column.payloads):
        if not payload:
            table.refuse(message, "empty_payload", "the payload has no bytes")
            continue
        try:
            document = msgpack.unpackb(payload, strict_map_key=False, timestamp=TIMES_AS_DATETIME)
            table.add_document(message, plain(document))
        except RefusedValueError as refused:
            table.refuse(message, refused.code, refused.detail)
        except (msgpack.UnpackException, ValueError, TypeError, OverflowError) as err:
            table.refuse(message, "invalid_msgpack", shown(str(err) or type(err).__name__))
    return table.finish()
