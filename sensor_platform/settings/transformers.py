"""Formats of your own."""

from pathlib import Path

from pydantic import Field

from sensor_platform.settings.section import Section


class TransformerSettings(Section):
    """Formats of your own: where they may come from, and what they may use."""

    folder: Path | None = Field(
        None,
        alias="SENSOR_PLATFORM_TRANSFORMERS",
        description="folder whose *.py files bring formats; only you or root may write it; empty: none",
    )
    timeout_s: float = Field(
        10, alias="TRANSFORMER_TIMEOUT_S", gt=0, description="seconds that a call of a custom transformer may take"
    )
    memory_bytes: int = Field(
        1_073_741_824,
        alias="TRANSFORMER_MEMORY_BYTES",
        ge=16_777_216,
        description="bytes that custom transformers may use beyond what their process starts with",
    )
