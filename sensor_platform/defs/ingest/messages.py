"""What lies before the first run: the broker's messages and the staging area. External: reported, never made here."""

import dagster as dg

from sensor_platform.defs import names
from sensor_platform.defs.links import live_page
from sensor_platform.defs.partitions import received_hours

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
)
