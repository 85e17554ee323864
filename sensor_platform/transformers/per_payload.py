"""The easy form of a custom transformer: a function of one payload, yielding dicts like the default route's objects."""

import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from sensor_platform.transformers.contract import Decoded, PayloadColumn
from sensor_platform.transformers.numbers import shown
from sensor_platform.transformers.table import ReadingTable

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

PayloadFunction = Callable[[bytes, str, datetime], Iterable[dict[str, Any]]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decode_each(
    function: PayloadFunction, column: PayloadColumn, route: "Route", *, began: Callable[[int, int], None] | None = None
) -> Decoded:
    """Calls `function` for each message; one that it raises for is refused alone.

    Args:
        began: told the place of each message, and 1, before the function gets it; what watches us knows the guilty one.

    Raises:
        MemoryError: the process is at its limit; what it holds beside is not known.
    """
    table = ReadingTable(column, route, names_sensors=True, any_number=True)
    for message, payload in enumerate(column.payloads):
        if began is not None:
            began(message, 1)
        received_at = _EPOCH + timedelta(microseconds=int(column.received_at[message]))
        try:
            elements = list(function(payload, column.topics[message], received_at))
        except MemoryError:
            raise
        except Exception as err:  # noqa: BLE001 - code of the user, on bytes of anybody: the message alone is refused
            table.refuse(message, "transformer_failed", failure(err))
            continue
        ordinal = 0
        for element in elements:
            ordinal = table.add_object(message, ordinal, element)
    return table.finish()


def failure(err: BaseException) -> str:
    """What was raised and where, on one line."""
    frames = traceback.extract_tb(err.__traceback__)
    where = f" ({PurePath(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name})" if frames else ""
    return f"{type(err).__name__}: {shown(str(err))}{where}"
