"""Sensor data for factories: MQTT in, validated metric tables out, every message accounted for."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sensor_platform.transformers.registry import transformer

__all__ = ["__version__", "transformer"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # `sensor_platform.transformer` without making `import sensor_platform` pay for it.
    if name == "transformer":
        from sensor_platform.transformers import registry

        return registry.transformer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
