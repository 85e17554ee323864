"""Payloads that come compressed: unpacked before their format is read, with a bound on what they become."""

import pyarrow as pa

from sensor_platform.routes.model import Compression
from sensor_platform.transformers.leaves import RefusedValueError


def unpacked(payload: bytes, compression: Compression, *, max_bytes: int) -> bytes:
    """Raises RefusedValueError where it is not so compressed, is cut short, or holds more than `max_bytes`."""
    if compression == "none":
        return payload
    if not payload:
        raise RefusedValueError("empty_payload", "the payload has no bytes")
    try:
        with pa.CompressedInputStream(pa.BufferReader(payload), compression) as stream:
            whole: bytes = stream.read(max_bytes + 1)
    except OSError as err:
        raise RefusedValueError("invalid_compression", f"{compression}: {str(err).splitlines()[0]}") from err
    if len(whole) > max_bytes:
        detail = f"it unpacks to more than MQTT_MAX_PAYLOAD_BYTES={max_bytes}"
        raise RefusedValueError("payload_too_large", detail)
    return whole
