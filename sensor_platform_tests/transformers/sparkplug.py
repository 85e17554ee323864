"""Messages of Sparkplug B for tests, encoded by the protobuf library, and what became of them."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from sensor_platform.pipeline.decode import DecodedMessages, one_message
from sensor_platform.transformers.sparkplug_b.sparkplug_b_pb2 import Payload
from sensor_platform_tests.transformers.decoding import RECEIVED_AT, RECEIVED_US

AT = RECEIVED_US // 1000 - 5000  # ms

Metric = Any  # of the generated module


def metric(
    name: str | None,
    alias: int | None,
    datatype: int | None,
    *,
    unit: str | None = None,
    quality: int | None = None,
    **fields: Any,
) -> Metric:
    """`fields`: as the schema names them (`double_value=1.5, is_null=True`)."""
    given = {"name": name, "alias": alias, "datatype": datatype}
    made = Payload.Metric(**{**{k: v for k, v in given.items() if v is not None}, **fields})
    if unit is not None:
        made.properties.keys.append("engUnit")
        made.properties.values.add(type=12, string_value=unit)
    if quality is not None:
        made.properties.keys.append("Quality")
        made.properties.values.add(type=3, int_value=quality)
    return made


def payload(*metrics: Metric, at: int | None = AT, seq: int | None = 0) -> bytes:
    made = Payload(metrics=metrics)
    if at is not None:
        made.timestamp = at
    if seq is not None:
        made.seq = seq
    return made.SerializeToString()


def topic(type_: str, who: str) -> str:
    """`who`: group/node or group/node/device."""
    group, node, *device = who.split("/")
    return "/".join(["spBv1.0", group, ("D" if device else "N") + type_, node, *device])


def birth(who: str, *metrics: Metric, bdseq: int | None = None, at: int = AT) -> tuple[str, bytes]:
    session = [] if bdseq is None else [metric("bdSeq", None, 4, long_value=bdseq)]
    return topic("BIRTH", who), payload(*metrics, *session, at=at)


def data(who: str, *metrics: Metric, at: int = AT) -> tuple[str, bytes]:
    return topic("DATA", who), payload(*metrics, at=at, seq=1)


def death(who: str, *, bdseq: int | None = None, at: int = AT) -> tuple[str, bytes]:
    session = [] if bdseq is None else [metric("bdSeq", None, 4, long_value=bdseq)]
    return topic("DEATH", who), payload(*session, at=at, seq=None)


def table(messages: Sequence[tuple[str, bytes]]) -> pa.Table:
    return pa.concat_tables([one_message(topic, payload, RECEIVED_AT) for topic, payload in messages])


def said(decoded: DecodedMessages) -> list[tuple[Any, ...]]:
    """(work unit, sensor, metric, ms, value, text, unit) of each reading."""
    rows = decoded.readings.to_dict("records")
    return [
        (
            row["work_unit"],
            row["sensor"],
            row["metric"],
            row["time"] // 1000,
            None if row["value"] != row["value"] else row["value"],  # NaN is a text alone
            row["text"],
            row["unit"],
        )
        for row in rows
    ]
