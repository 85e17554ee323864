"""Which of the two ways of reading a collector takes: paho's private parts where they are as we know them."""

from functools import cache
from typing import Literal

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from sensor_platform.log import get_logger
from sensor_platform.mqtt.fast_read import FastClient, missing_parts
from sensor_platform.mqtt.stock_read import StockClient

ReadPath = Literal["auto", "stock"]
ReadingClient = FastClient | StockClient


@cache
def reading_client(path: ReadPath) -> type[ReadingClient]:
    """The client of the fast path, or of the stock one; says once a process why it is the slow one."""
    if path == "stock":
        get_logger().warning("reading_slowly", reason="MQTT_READ_PATH=stock")
        return StockClient
    missing = missing_parts(Client(CallbackAPIVersion.VERSION2))
    if missing:
        reason = "this version of paho-mqtt is not one that the fast read path knows; install the locked one"
        get_logger().error("reading_slowly", reason=reason, missing=missing)
        return StockClient
    return FastClient
