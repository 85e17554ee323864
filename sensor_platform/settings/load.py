"""From the environment and a `.env` file to the tree, or to one line that says which value cannot be used."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from sensor_platform.errors import ConfigurationError
from sensor_platform.settings.section import Section
from sensor_platform.settings.tree import SECTIONS, Settings

S = TypeVar("S", bound=Section)


def load_settings(environ: Mapping[str, str] | None = None, *, env_file: Path | None = Path(".env")) -> Settings:
    """Settings from the environment and an optional `.env` file.

    Raises:
        ConfigurationError: one line that names the setting, its value (never a secret) and what is accepted.
    """
    values = _merged(os.environ if environ is None else environ, env_file)
    sections = {name: _built(cls, _known(cls, values)) for name, cls in SECTIONS.items()}
    return _built(Settings, {**_known(Settings, values), **sections})


def _merged(environ: Mapping[str, str], env_file: Path | None) -> dict[str, str]:
    from dotenv import dotenv_values

    sections: list[type[Section]] = [Settings, *SECTIONS.values()]
    from_file = dotenv_values(env_file) if env_file is not None and env_file.is_file() else {}
    merged = {name: value for name, value in {**from_file, **environ}.items() if value}
    for cls in sections:
        for field in cls.model_fields.values():
            name = field.alias
            if name is not None and f"{name}_FILE" in merged:
                merged[name] = _read_secret(f"{name}_FILE", merged[f"{name}_FILE"])
    return merged


def _read_secret(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as err:
        raise ConfigurationError(f"{name}={path}: cannot read the file: {err.strerror}") from err


def _known(cls: type[Section], values: Mapping[str, str]) -> dict[str, Any]:
    return {f.alias: values[f.alias] for f in cls.model_fields.values() if f.alias is not None and f.alias in values}


def _built(cls: type[S], values: Mapping[str, Any]) -> S:
    try:
        return cls(**values)
    except ValidationError as err:
        first = err.errors()[0]
        name, reason = str(first["loc"][0]), first["msg"].removeprefix("Value error, ")
        field = next(f for f in cls.model_fields.values() if f.alias == name)
        # A URL may carry a password.
        is_secret = "Secret" in str(field.annotation) or "@" in str(values.get(name))
        shown = "(not shown)" if is_secret else values.get(name)
        raise ConfigurationError(f"{name}={shown}: {reason} ({field.description})") from err
