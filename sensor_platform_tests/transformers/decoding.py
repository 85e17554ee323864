"""What tests of formats share: one payload, or several, through a route."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa

from sensor_platform.pipeline.decode import DecodedMessages, decode, one_message
from sensor_platform.routes.model import Route, Routes

RECEIVED_AT = datetime(2026, 1, 1, tzinfo=UTC)
RECEIVED_US = 1_767_225_600_000_000
TOPIC = "factory/line1/sensors/press/data"


def route_of(format_: str, **options: object) -> Route:
    return Route(name="r", filter="factory/{work_unit}/sensors/{sensor}/data", format=format_, **options)  # type: ignore[arg-type]


def table_of(payloads: Sequence[bytes], *, topic: str = TOPIC) -> pa.Table:
    return pa.concat_tables([one_message(topic, payload, RECEIVED_AT) for payload in payloads])


def decode_payloads(
    *payloads: bytes, format_: str = "json", max_payload_bytes: int = 4_194_304, **options: object
) -> DecodedMessages:
    routes = Routes([route_of(format_, **options)])
    return decode(table_of(payloads), routes, max_payload_bytes=max_payload_bytes)


def codes(decoded: DecodedMessages) -> list[tuple[int, int, str]]:
    return [(refusal.message, refusal.ordinal, refusal.code) for refusal in decoded.refusals]
