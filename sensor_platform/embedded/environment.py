"""Settings as an environment: how `up` tells its parts what it has found, made and chosen."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from sensor_platform.embedded.secrets import write_private
from sensor_platform.settings import Settings


def environment_of(settings: Settings) -> dict[str, str]:
    """Every setting that has a value, under its name. `load_settings` of the result gives the same tree."""
    found: dict[str, str] = {}
    _collect(settings, found)
    return found


def _collect(section: BaseModel, found: dict[str, str]) -> None:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            _collect(value, found)
        elif field.alias is not None and value is not None:
            found[field.alias] = _text(value)


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)


def password_file_of(settings: Settings) -> Path | None:
    """A file with the broker's password, so that run.json can name it; None where there is no password."""
    if settings.mqtt.password is None:
        return None
    path = settings.home / "secrets" / "mqtt_password"
    write_private(path, settings.mqtt.password.get_secret_value())
    return path
