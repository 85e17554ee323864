"""Golden payloads beside a route file: a case is a folder of data, with a message and what it must become.

`message.json`, `.txt`, `.csv`, … holds the payload as it is, `message.hex` its bytes in hexadecimal; `case.json` the
`topic`, `received_at` and `retain` of the message; `expected.json` its readings and refusals, or `error.txt` the code
with which the whole message is refused.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sensor_platform.errors import ConfigurationError

#: The folder of cases beside a route file.
CASES_FOLDER = "testcases"
ABOUT, EXPECTED, ERROR = "case.json", "expected.json", "error.txt"
RECEIVED_AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Case:
    """One message and what it must become. Where `case.json` leaves something out: see `read_case`.

    error: the code with which the whole message is refused; otherwise `expected` is `{readings, refused, ignored}`.
    """

    name: str
    payload: bytes
    topic: str
    received_at: datetime
    retain: bool
    error: str | None
    expected: Mapping[str, Any]


def find_cases(root: Path) -> list[Path]:
    """Every folder below `root` that holds a message, by name."""
    return sorted({path.parent for path in root.rglob("message.*")})


def read_case(folder: Path, *, root: Path, topic: str | None = None) -> Case:
    """The case in `folder`, named by its place below `root`.

    Args:
        topic: where `case.json` names none. The time received is then 2026-01-01T00:00:00Z, and nothing is retained.

    Raises:
        ConfigurationError: one line with the file and what is accepted.
    """
    about = _json(folder / ABOUT) if (folder / ABOUT).exists() else {}
    about_topic = about.get("topic", topic)
    if not isinstance(about_topic, str):
        raise ConfigurationError(f'{folder / ABOUT}: "topic" is missing: a text, the topic of the message')
    error = (folder / ERROR).read_text("utf-8").strip() if (folder / ERROR).exists() else None
    return Case(
        name=folder.relative_to(root).as_posix(),
        payload=_payload(folder),
        topic=about_topic,
        received_at=_received_at(about.get("received_at"), folder / ABOUT),
        retain=about.get("retain", False) is True,
        error=error,
        expected=_json(folder / EXPECTED) if error is None else {},
    )


def write_case(
    folder: Path, *, topic: str, payload: bytes, received_at: datetime, retain: bool, became: Mapping[str, Any]
) -> None:
    """A new case, with `became` as the expectation. Raises FileExistsError where the folder is there already."""
    folder.mkdir(parents=True)
    name = _message_name(payload)
    content = payload if name != "message.hex" else (payload.hex(" ", 4) + "\n").encode()
    (folder / name).write_bytes(content)
    about = {"topic": topic, "received_at": received_at.astimezone(UTC).isoformat().replace("+00:00", "Z")}
    _write(folder / ABOUT, json.dumps({**about, **({"retain": True} if retain else {})}, ensure_ascii=False, indent=2))
    if (error := whole_refusal(became)) is not None:
        _write(folder / ERROR, error)
    else:
        _write(folder / EXPECTED, "\n".join(lines_of(became)))


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


def _write(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")


def _message_name(payload: bytes) -> str:
    """Bytes that an editor would not keep are written in hexadecimal."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return "message.hex"
    if not all(character.isprintable() or character in "\n\t" for character in text):
        return "message.hex"
    return "message.json" if text.lstrip()[:1] in ("{", "[") else "message.txt"


def _payload(folder: Path) -> bytes:
    messages = list(folder.glob("message.*"))
    if len(messages) != 1:
        raise ConfigurationError(f"{folder}: {len(messages)} files are called message.*: a case has one message")
    if messages[0].suffix != ".hex":
        return messages[0].read_bytes()
    try:
        return bytes.fromhex(messages[0].read_text("ascii"))
    except ValueError as err:
        raise ConfigurationError(f"{messages[0]}: not hexadecimal: {err}") from err


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as err:
        raise ConfigurationError(f"{path.parent}: neither {EXPECTED} nor {ERROR} says what is expected") from err
    except ValueError as err:
        raise ConfigurationError(f"{path}: not JSON: {err}") from err
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path}: a JSON object is accepted only")
    return found


def _received_at(text: Any, path: Path) -> datetime:
    if text is None:
        return RECEIVED_AT
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError) as err:
        raise ConfigurationError(f"{path}: received_at: {text!r} is not an ISO 8601 time") from err
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
