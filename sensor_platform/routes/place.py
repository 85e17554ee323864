"""Which route file is in use."""

from pathlib import Path

from sensor_platform.settings import Settings

ROUTE_FILE = "routes.yaml"
#: The default that comes along.
PACKAGED = Path(__file__).with_name("default.yaml")


def route_file(settings: Settings) -> Path | None:
    """The route file in use; None: the packaged default."""
    if settings.routes_file is not None:
        return None if settings.routes_file == PACKAGED else settings.routes_file
    local = Path(ROUTE_FILE)
    return local if local.is_file() else None
