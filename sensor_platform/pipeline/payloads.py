"""The payloads of one route to what its format makes of them: unpacked where it compresses, each in its guard.

Nothing here raises for what a machine sent, nor for what a custom transformer makes of it: a group that fails is halved
until the guilty message stands alone, and is refused with its reason.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa

from sensor_platform.pipeline.topics import Verdict
from sensor_platform.routes.filters import METRIC
from sensor_platform.routes.model import Route
from sensor_platform.transformers import registry
from sensor_platform.transformers.compression import unpacked
from sensor_platform.transformers.contract import WHOLE_MESSAGE, Decoded, PayloadColumn, Refusal
from sensor_platform.transformers.custom import decode_custom
from sensor_platform.transformers.definitions import Definitions
from sensor_platform.transformers.guarded import after, decode_guarded, joined
from sensor_platform.transformers.keeping import no_readings
from sensor_platform.transformers.leaves import RefusedValueError

#: Unpacked bytes that are decoded together.
PIECE_BYTES = 64 * 1024 * 1024
#: The metric of a reading that names none.
PLAIN_METRIC = "value"


def decode_payloads(
    messages: pa.Table,
    rows: np.ndarray,
    route: Route,
    verdicts: list[Verdict],
    topic_of: np.ndarray,
    *,
    max_bytes: int,
    definitions: Definitions,
) -> Decoded:
    """Readings and refusals of the messages at `rows`, which are of one route; places are those of `messages`."""
    topics = topic_of[rows].tolist()
    column = PayloadColumn(
        payloads=messages["payload"].take(rows).to_pylist(),
        received_at=messages["received_at"].take(rows).cast(pa.int64()).to_numpy(),
        topics=[verdicts[index].topic for index in topics],
        captures=[verdicts[index].captures for index in topics],
        definitions=definitions.taken(rows),
    )
    if route.compression == "none":
        decoded = _decode_guarded(column, route)
    else:
        decoded = _decode_packed(column, route, max_bytes)
    return _with_captured_metric(decoded, column).moved(rows)


def _with_captured_metric(decoded: Decoded, column: PayloadColumn) -> Decoded:
    """Where the topic says of which metric: it is the name of a plain value, and comes before every other name."""
    if decoded.readings.empty or METRIC not in column.captures[0]:
        return decoded
    captured = [column.captures[message][METRIC] for message in decoded.readings["message"]]
    names = [
        topic if name == PLAIN_METRIC else f"{topic}.{name}"
        for topic, name in zip(captured, decoded.readings["metric"], strict=True)
    ]
    metric = pd.Series(names, index=decoded.readings.index, dtype=object)
    return replace(decoded, readings=decoded.readings.assign(metric=metric))


def _decode_packed(column: PayloadColumn, route: Route, max_bytes: int) -> Decoded:
    """Unpacks and decodes a bounded piece at a time: what is small on the wire may be large here."""
    parts: list[Decoded] = []
    for places, payloads, refused in _unpacked_pieces(column, route, max_bytes):
        taken = np.array(places, dtype=np.int64)
        piece = replace(after(column, parts).take(taken), payloads=payloads)
        parts += [Decoded(no_readings(), refused), _decode_guarded(piece, route).moved(taken)]
    return joined(parts)


def _unpacked_pieces(
    column: PayloadColumn, route: Route, max_bytes: int
) -> Iterator[tuple[list[int], list[bytes], list[Refusal]]]:
    """Places and payloads of some PIECE_BYTES each, and who could not be unpacked on the way."""
    places: list[int] = []
    payloads: list[bytes] = []
    refused: list[Refusal] = []
    size_bytes = 0
    for place, packed in enumerate(column.payloads):
        try:
            payloads.append(unpacked(packed, route.compression, max_bytes=max_bytes))
            places.append(place)
        except RefusedValueError as err:
            refused.append(Refusal(place, WHOLE_MESSAGE, err.code, err.detail))
            continue
        size_bytes += len(payloads[-1])
        if size_bytes >= PIECE_BYTES:
            yield places, payloads, refused
            places, payloads, refused, size_bytes = [], [], [], 0
    yield places, payloads, refused


def _decode_guarded(column: PayloadColumn, route: Route) -> Decoded:
    """Formats that come along are decoded here, all others in a worker process."""
    if route.format in registry.BUILT_IN:
        return decode_guarded(column, route, registry.get(route.format))
    return decode_custom(column, route)
