"""What people open in a browser."""

from typing import Literal

from pydantic import Field

from sensor_platform.settings.section import Section


class ApiSettings(Section):
    """Ports of what people open in a browser, and the channels of the live stream."""

    host: Literal["127.0.0.1"] = Field("127.0.0.1", alias="API_HOST", description="loopback only")
    port: int = Field(8080, alias="API_PORT", ge=1, le=65535, description="next free port when taken")
    dagster_port: int = Field(3000, alias="DAGSTER_PORT", ge=1, le=65535, description="next free port when taken")
    broker_port: int = Field(1883, alias="BROKER_PORT", ge=1, le=65535, description="next free port when taken")
    live_channels: str = Field(
        "{work_unit}/{sensor}",
        alias="LIVE_CHANNELS",
        description="live channel of a topic: comma-separated FILTER=CHANNEL pairs, or one template for every route",
    )
