"""Groups and writers for the tests of staging."""

from pathlib import Path

from sensor_platform.mqtt.redelivery import RedeliveryWindow
from sensor_platform.staging.format import Group
from sensor_platform.staging.writer import StagingWriter


def group(*payloads: bytes, connection: int = 1, first_id: int = 1, dup: bool = False) -> Group:
    """QoS 1 messages with packet ids that count up."""
    n = len(payloads)
    return Group(
        first_bytes=bytes([0x3A if dup else 0x32]) * n,
        topics=[b"factory/press/sensors/force/data"] * n,
        payloads=list(payloads),
        packet_ids=list(range(first_id, first_id + n)),
        connection=connection,
    )


def writer(root: Path, **options: int) -> StagingWriter:
    return StagingWriter(root, window=RedeliveryWindow(), **options)


def open_file(root: Path) -> Path:
    """The one file that is open."""
    (found,) = root.glob("_open/*/*.arrow")
    return found
