"""A transformer called so that its exceptions cost the guilty messages only: a group that fails is halved."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from sensor_platform.errors import DefinitionsUnavailableError
from sensor_platform.routes.model import Route
from sensor_platform.transformers.contract import WHOLE_MESSAGE, Decoded, PayloadColumn, Refusal
from sensor_platform.transformers.definitions import check_definitions
from sensor_platform.transformers.keeping import kept_contract, no_readings
from sensor_platform.transformers.per_payload import decode_each, failure
from sensor_platform.transformers.registry import BUILT_IN, Registered

#: Told which messages are about to be decoded: place of the first, and how many.
Began = Callable[[int, int], None]


def decode_guarded(
    column: PayloadColumn, route: Route, registered: Registered, *, began: Began | None = None
) -> Decoded:
    """The transformer on the column; on halves of it where it raises, until the guilty message stands alone.

    Raises:
        DefinitionsUnavailableError: no message is guilty of that; all of them are decoded when it is tried again.
    """
    return _decode(column, route, registered, began, first=0) if len(column) else Decoded(no_readings())


def _decode(column: PayloadColumn, route: Route, registered: Registered, began: Began | None, *, first: int) -> Decoded:
    try:
        if began is not None:
            began(first, len(column))
        return _call(column, route, registered, began, first)
    except DefinitionsUnavailableError:
        raise
    except MemoryError:
        if began is not None:  # in a worker, which is at its limit and ends; elsewhere it is an error like any other
            raise
        error: Exception = MemoryError("no memory is left")
    except Exception as err:  # noqa: BLE001 - a transformer may be anybody's code: the message is refused, its bytes stay
        error = err
    if len(column) == 1:
        return Decoded(no_readings(), [Refusal(0, WHOLE_MESSAGE, "transformer_failed", failure(error))])
    parts: list[Decoded] = []
    for half in np.array_split(np.arange(len(column)), 2):
        taken = after(column, parts).take(half)
        parts.append(_decode(taken, route, registered, began, first=first + int(half[0])).moved(half))
    return joined(parts)


def _call(column: PayloadColumn, route: Route, registered: Registered, began: Began | None, first: int) -> Decoded:
    if registered.per_payload is not None and began is not None:
        tell = began
        decoded = decode_each(
            registered.per_payload, column, route, began=lambda place, count: tell(first + place, count)
        )
        return kept_contract(decoded, len(column))
    decoded = registered.transform(column, route)
    if registered.name not in BUILT_IN:
        return kept_contract(decoded, len(column))
    check_definitions(decoded.definitions, len(column))
    return decoded


def after(column: PayloadColumn, parts: list[Decoded]) -> PayloadColumn:
    """The column for who comes after `parts` of it, and knows what they defined."""
    found = [definition for part in parts for definition in part.definitions]
    return replace(column, definitions=column.definitions.overlaid(found))


def joined(parts: list[Decoded]) -> Decoded:
    """One `Decoded` of several."""
    return Decoded(
        pd.concat([part.readings for part in parts], ignore_index=True),
        [refusal for part in parts for refusal in part.refusals],
        [definition for part in parts for definition in part.definitions],
        [message for part in parts for message in part.ignored],
    )
