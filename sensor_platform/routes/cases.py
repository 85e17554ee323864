"""Golden payloads beside a route file: a case is a folder of data, with a message and what it must become.

`message.json`, `.txt`, `.csv`, … holds the payload as it is, `message.hex` its bytes in hexadecimal; `case.json` the
`topic`, `received_at` and `retain` of the message, and under `before` the messages that were received before it and say
what it means: a birth, metadata, the value that a rate of change is judged by. `expected.json` holds its readings and
refusals, or `error.txt` the code with which the whole message is refused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.case_files import check_keys, read_object, read_text, shown
from sensor_platform.routes.expected import ERROR, EXPECTED, lines_of, read_expected, whole_refusal

#: The folder of cases beside a route file.
CASES_FOLDER = "testcases"
ABOUT = "case.json"
RECEIVED_AT = datetime(2026, 1, 1, tzinfo=UTC)
_ABOUT_KEYS = ("topic", "received_at", "retain", "before")
_BEFORE_KEYS = ("topic", "received_at", "retain", "text", "hex")


@dataclass(frozen=True, slots=True)
class CaseMessage:
    """A message as it was received."""

    topic: str
    payload: bytes
    received_at: datetime
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One message and what it must become. Where `case.json` leaves something out: see `read_case`.

    before: the messages before it, in received order; what becomes of them is not judged. error: the code with which
    the whole message is refused; otherwise `expected` is `{readings, refused, ignored}`.
    """

    name: str
    message: CaseMessage
    before: tuple[CaseMessage, ...]
    error: str | None
    expected: Mapping[str, Any]


def find_cases(root: Path) -> list[Path]:
    """Every folder below `root` that holds a message, by name."""
    return sorted({path.parent for path in root.rglob("message.*")})


def read_case(folder: Path, *, root: Path, topic: str | None = None) -> Case:
    """The case in `folder`, named by its place below `root`.

    Args:
        topic: where `case.json` names none. The time received is then 2026-01-01T00:00:00Z, and nothing is retained.
            Messages under `before` have, where they say nothing else, the topic and time of the message.

    Raises:
        ConfigurationError: one line with the file and what is accepted.
    """
    about = read_object(folder / ABOUT) if (folder / ABOUT).exists() else {}
    where = str(folder / ABOUT)
    check_keys(about, _ABOUT_KEYS, where)
    message = _message(about, _payload(folder), where, topic=topic, received_at=RECEIVED_AT)
    error = read_text(folder / ERROR).strip() if (folder / ERROR).exists() else None
    return Case(
        name=folder.relative_to(root).as_posix(),
        message=message,
        before=tuple(_before(about.get("before", []), message, where)),
        error=error,
        expected=read_expected(folder) if error is None else {},
    )


def write_case(
    folder: Path, message: CaseMessage, *, became: Mapping[str, Any], before: Sequence[CaseMessage] = ()
) -> None:
    """A new case, with `became` as the expectation. Raises FileExistsError where the folder is there already."""
    folder.mkdir(parents=True)
    name = _message_name(message.payload)
    content = message.payload if name != "message.hex" else (message.payload.hex(" ", 4) + "\n").encode()
    (folder / name).write_bytes(content)
    earlier = [{**_about(each), **_as_text(each.payload)} for each in before]
    about = {**_about(message), **({"before": earlier} if earlier else {})}
    _write(folder / ABOUT, json.dumps(about, ensure_ascii=False, indent=2))
    if (error := whole_refusal(became)) is not None:
        _write(folder / ERROR, error)
    else:
        _write(folder / EXPECTED, "\n".join(lines_of(became)))


def _about(message: CaseMessage) -> dict[str, Any]:
    at = message.received_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return {"topic": message.topic, "received_at": at, **({"retain": True} if message.retain else {})}


def _as_text(payload: bytes) -> dict[str, str]:
    return {"hex": payload.hex(" ", 4)} if _message_name(payload) == "message.hex" else {"text": payload.decode()}


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


def _before(told: Any, message: CaseMessage, where: str) -> list[CaseMessage]:
    if not isinstance(told, list):
        raise ConfigurationError(f'{where}: "before" is a list of messages, each with topic, and text or hex')
    found = []
    for place, about in enumerate(told):
        at = f"{where}: before[{place}]"
        if not isinstance(about, dict):
            raise ConfigurationError(
                f"{at}: {shown(about)} is not accepted, only an object with topic, and text or hex"
            )
        check_keys(about, _BEFORE_KEYS, at)
        payload = _payload_in(about, at)
        found.append(_message(about, payload, at, topic=message.topic, received_at=message.received_at))
    return found


def _payload_in(about: Mapping[str, Any], where: str) -> bytes:
    given = [name for name in ("text", "hex") if name in about]
    if len(given) != 1 or not isinstance(about[given[0]], str):
        raise ConfigurationError(f'{where}: one of "text" and "hex" holds the payload, as a text')
    try:
        return bytes.fromhex(about["hex"]) if given == ["hex"] else about["text"].encode()
    except ValueError as err:
        raise ConfigurationError(f'{where}: "{given[0]}": {err}') from err


def _message(
    about: Mapping[str, Any], payload: bytes, where: str, *, topic: str | None, received_at: datetime
) -> CaseMessage:
    topic, retain = about.get("topic", topic), about.get("retain", False)
    if topic is None:
        raise ConfigurationError(f'{where}: "topic" is missing: a text, the topic of the message')
    if not isinstance(topic, str):
        raise ConfigurationError(f'{where}: "topic": {shown(topic)} is not accepted, only a text')
    if not isinstance(retain, bool):
        raise ConfigurationError(f'{where}: "retain": {shown(retain)} is not accepted, only true or false')
    at = _received_at(about["received_at"], where) if "received_at" in about else received_at
    return CaseMessage(topic, payload, at, retain)


def _payload(folder: Path) -> bytes:
    messages = list(folder.glob("message.*"))
    if len(messages) != 1:
        raise ConfigurationError(
            f"{folder}: {len(messages)} files are called message.*: a case judges one message, those before it stand"
            f' in {ABOUT} under "before"'
        )
    if messages[0].suffix != ".hex":
        return messages[0].read_bytes()
    try:
        return bytes.fromhex(messages[0].read_text("ascii"))
    except ValueError as err:
        raise ConfigurationError(f"{messages[0]}: not hexadecimal: {err}") from err


def _received_at(text: Any, where: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError) as err:
        raise ConfigurationError(f"{where}: received_at: {text!r} is not an ISO 8601 time") from err
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
