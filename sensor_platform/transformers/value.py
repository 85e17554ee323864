"""Plain values: a payload that is one number, or one word (`21.5`, `ON`), on a topic that says of what."""

from typing import TYPE_CHECKING

from pydantic import Field

from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.mapping import ValueOption
from sensor_platform.transformers.options import options_of
from sensor_platform.transformers.registry import transformer
from sensor_platform.transformers.table import ReadingTable

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

BOOLEANS = {"true": True, "false": False}


class PlainValueOptions(ValueOption):
    """metric: the name of the one metric. The number may be followed by `suffix`: `21.5 C`."""

    metric: str = Field("value", min_length=1, max_length=500)
    suffix: str | None = None


@transformer("value", version="1", columns=True, options=PlainValueOptions)
def decode_value(column: PayloadColumn, route: "Route") -> Decoded:
    options = options_of(route, PlainValueOptions)
    table = ReadingTable(column, route)
    shared = {"metric": options.metric, "unit": options.unit}
    for message, payload in enumerate(column.payloads):
        try:
            # Many a device sends the U+0000, too, that ends a text in C.
            text = payload.decode("utf-8-sig").rstrip("\0").strip()
        except UnicodeDecodeError as err:
            table.refuse(message, "invalid_encoding", f"byte {err.start} is not valid UTF-8")
            continue
        if not text:
            table.refuse(message, "empty_payload", "the payload has no bytes but spaces")
            continue
        if options.suffix is not None:
            text = text.removesuffix(options.suffix).rstrip()
        raw = text if text in options.map else BOOLEANS.get(text.lower(), text)
        table.add_object(message, 0, {**shared, "value": options.converted(raw)})
    return table.finish()
