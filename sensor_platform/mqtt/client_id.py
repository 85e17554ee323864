"""The collector's client id: the broker keeps our session under it, so it must be the same at each start."""

import re
import secrets

from sensor_platform.errors import ConfigurationError, StagingUnavailableError
from sensor_platform.settings import Settings
from sensor_platform.staging.durable import make_folder, replace_file

DEFAULT_COLLECTOR = "c0"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def checked_name(collector: str) -> str:
    """The collector's name, which begins the names of its files."""
    if not _NAME.fullmatch(collector):
        raise ConfigurationError(
            f"collector {collector!r}: accepted are 1 to 32 of a-z, 0-9, '_' and '-', the first a letter or a digit"
        )
    return collector


def client_id(settings: Settings, collector: str = DEFAULT_COLLECTOR) -> str:
    """The one of the settings, otherwise one made once and kept in the home. Raises StagingUnavailableError."""
    if settings.mqtt.client_id:
        return settings.mqtt.client_id
    name = "client_id" if collector == DEFAULT_COLLECTOR else f"client_id-{collector}"
    path = settings.home / "collector" / name
    if path.exists() and (kept := path.read_text(encoding="utf-8").strip()):
        return kept
    made = f"sensor-platform-{secrets.token_hex(6)}"
    try:
        make_folder(path.parent)
        replace_file(path, f"{made}\n".encode())
    except OSError as err:
        raise StagingUnavailableError(
            f"{path}: cannot keep a new client id: {err.strerror or err}. Free space, or mend the disk."
        ) from err
    return made
