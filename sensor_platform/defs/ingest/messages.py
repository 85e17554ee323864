"""What lies before the first run: the broker's messages and the staging area. External: reported, never made here."""

import dagster as dg

from sensor_platform.defs import names
from sensor_platform.defs.links import live_page
from sensor_platform.defs.partitions import received_hours
from sensor_platform.staging.format import SCHEMA

#: What the fields of a micro-batch's file say, for who opens it with an Arrow tool.
FIELDS = {
    "sequence": "the message's number, of all that its collector has staged; with the micro-batch its identity",
    "received_at": "when the collector read it, UTC, microseconds",
    "topic": "as it came, bytes of UTF-8",
    "payload": "as it came, untouched",
    "qos": "0, 1 or 2: that of the delivery to the collector",
    "retain": "the broker kept it and sent it at the subscription",
    "dup": "the broker had sent it before",
    "packet_id": "of the PUBLISH; null at QoS 0",
    "connection": "of the collector, counted from its start",
    "redelivery_of": "sequence of the message that this one repeats; null: none",
    "content_type": "MQTT 5, as the publisher says it",
    "user_properties": "MQTT 5, names and values in order",
}


def _column_schema() -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                field.name,
                str(field.type),
                description=FIELDS[field.name],
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in SCHEMA
        ]
    )


mqtt_messages = dg.AssetSpec(
    names.MQTT_MESSAGES,
    description=(
        "Messages that the collector takes from the broker. `mqtt_sensor` observes it each minute, and at once when "
        "the collector's state changes; switching that sensor off stops collecting."
    ),
    group_name="ingest",
    kinds={"mqtt"},
    owners=names.OWNERS,
    tags={"sensor_platform/stage": "receive"},
    metadata=live_page(),
)

staged_messages = dg.AssetSpec(
    names.STAGED_MESSAGES,
    deps=[mqtt_messages],
    partitions_def=received_hours,
    description=(
        "Sealed micro-batches: immutable Arrow files, laid out by the hour in which their messages were received. They "
        "keep the raw bytes, so that any hour can be told again. `staged_messages_sensor` reports each hour."
    ),
    group_name="ingest",
    kinds={"arrow"},
    owners=names.OWNERS,
    tags={"sensor_platform/stage": "stage"},
    metadata={"dagster/column_schema": _column_schema()},
)
