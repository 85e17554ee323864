"""What a case expects of its message: `expected.json`, a line a reading, or `error.txt` with one code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.case_files import check_keys, read_object, shown

EXPECTED, ERROR = "expected.json", "error.txt"
_REFUSED = {
    "ordinal": (int, "a place, -1 for the whole message"),
    "code": (str, "a code, as `dead-letters list` shows"),
}


def read_expected(folder: Path) -> dict[str, Any]:
    """`{readings, refused, ignored}`, each of the kind that it has to be; what is left out of the lists is empty.

    Raises:
        ConfigurationError: one line with the file, the place in it, and what is accepted.
    """
    path = folder / EXPECTED
    if not path.exists():
        raise ConfigurationError(f"{folder}: neither {EXPECTED} nor {ERROR} says what is expected")
    found = read_object(path)
    check_keys(found, ("readings", "refused", "ignored"), str(path))
    found["readings"] = _listed_in(found, "readings", "objects, one a reading", path)
    found["refused"] = _listed_in(found, "refused", 'objects with "ordinal" and "code"', path)
    for place, entry in enumerate(found["refused"]):
        _check_refusal(entry, f"{path}: refused[{place}]")
    if not isinstance(found.get("ignored", False), bool):
        raise ConfigurationError(f'{path}: "ignored": {shown(found["ignored"])} is not accepted, only true or false')
    return found


def _listed_in(found: Mapping[str, Any], name: str, accepted: str, path: Path) -> list[dict[str, Any]]:
    entries = found.get(name, [])
    if not isinstance(entries, list):
        raise ConfigurationError(f"{path}: {name}: {shown(entries)} is not accepted, only a list of {accepted}")
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ConfigurationError(f"{path}: {name}[{place}]: {shown(entry)} is not accepted, only {accepted}")
    return entries


def _check_refusal(entry: Mapping[str, Any], where: str) -> None:
    for name, (kind, accepted) in _REFUSED.items():
        if name not in entry:
            raise ConfigurationError(f'{where}: "{name}" is missing: {accepted}')
        if type(entry[name]) is not kind:
            raise ConfigurationError(f'{where}: "{name}": {shown(entry[name])} is not accepted, only {accepted}')


def whole_refusal(became: Mapping[str, Any]) -> str | None:
    """The code with which the whole message was refused; None where there is more to say."""
    refused = became.get("refused", [])
    alone = len(refused) == 1 and refused[0]["ordinal"] == -1 and not became.get("readings")
    return str(refused[0]["code"]) if alone else None


def lines_of(became: Mapping[str, Any]) -> list[str]:
    """JSON with a line a reading: short to read, and to compare."""
    parts = [_listed(name, became.get(name, [])) for name in ("readings", "refused")]
    if became.get("ignored"):
        parts.append(['  "ignored": true'])
    ended = [[*part[:-1], f"{part[-1]},"] for part in parts[:-1]] + parts[-1:]
    return ["{", *(line for part in ended for line in part), "}"]


def _listed(name: str, entries: list[Any]) -> list[str]:
    if not entries:
        return [f'  "{name}": []']
    lines = [f"    {_line(entry)}" for entry in entries]
    return [f'  "{name}": [', *(f"{line}," for line in lines[:-1]), lines[-1], "  ]"]


def _line(entry: Any) -> str:
    return json.dumps(entry, ensure_ascii=False)
