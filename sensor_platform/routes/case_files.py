"""The files of a case, read so that what is wrong in one is said with its path and what is accepted."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.wording import did_you_mean


def check_keys(found: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Raises ConfigurationError that names the first key which is not among `known`."""
    for name in found:
        if name not in known:
            raise ConfigurationError(f'{where}: unknown key "{name}".{did_you_mean(name, known)}')


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ConfigurationError with the path."""
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as err:
        raise ConfigurationError(f"{path}: not JSON: {err}") from err
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path}: a JSON object is accepted only")
    return found


def read_text(path: Path) -> str:
    """UTF-8. Raises ConfigurationError with the path."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as err:
        raise ConfigurationError(f"{path}: not UTF-8: {err}") from err
    except OSError as err:
        raise ConfigurationError(f"{path}: cannot read it: {err.strerror}") from err


def shown(value: Any) -> str:
    """A value of JSON, for a sentence."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:60] + "…"
