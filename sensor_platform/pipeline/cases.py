"""Golden payloads against the routes of today: what a message becomes, in the words of a case, and how it differs."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from sensor_platform.pipeline.explain import Explanation, explain
from sensor_platform.pipeline.message import OneMessage
from sensor_platform.routes.cases import Case, CaseMessage
from sensor_platform.routes.expected import lines_of
from sensor_platform.routes.model import Routes
from sensor_platform.transformers.contract import WHOLE_MESSAGE, Quality, Refusal
from sensor_platform.transformers.times import iso

Became = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`diff` is empty where the case holds."""

    name: str
    diff: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.diff


def judge(case: Case, routes: Routes, *, max_payload_bytes: int) -> Verdict:
    """Whether the message of `case` becomes what the case says, checks included."""
    before = [one_message_of(each) for each in case.before]
    message = one_message_of(case.message)
    became = became_of(explain(message, routes, max_payload_bytes=max_payload_bytes, before=before))
    return Verdict(case.name, tuple(differences(expected_of(case), became)))


def one_message_of(message: CaseMessage) -> OneMessage:
    topic = message.topic.encode("utf-8", "surrogatepass")
    return OneMessage(topic, message.payload, message.received_at, message.retain)


def case_message_of(message: OneMessage) -> CaseMessage:
    """Raises UnicodeDecodeError where its topic is not UTF-8: a case cannot hold it."""
    return CaseMessage(message.topic.decode(), message.payload, message.received_at, message.retain)


def became_of(explanation: Explanation) -> Became:
    """What a message became, as `expected.json` writes it."""
    became = described(explanation.readings.to_dict("records"), explanation.refusals)
    return {**became, "ignored": True} if explanation.ignored else became


def described(
    readings: Iterable[Mapping[Any, Any]], refusals: Iterable[Refusal], *, usual: Mapping[str, str] | None = None
) -> Became:
    """`{readings, refused}`; what is None, good, or `usual` (work_unit, sensor) is left out of a reading."""
    return {
        "readings": [_reading(row, usual or {}) for row in readings],
        "refused": [{"ordinal": refusal.ordinal, "code": refusal.code} for refusal in refusals],
    }


def expected_of(case: Case) -> Became:
    """What a case asks for. A refusal is known by ordinal and code: its sentence may be worded better one day."""
    if case.error is not None:
        return {"readings": [], "refused": [{"ordinal": WHOLE_MESSAGE, "code": case.error}]}
    refused = [{"ordinal": entry["ordinal"], "code": entry["code"]} for entry in case.expected["refused"]]
    expected = {"readings": case.expected["readings"], "refused": refused}
    return {**expected, "ignored": True} if case.expected.get("ignored") else expected


def differences(expected: Became, became: Became) -> list[str]:
    """A diff, a line a reading; empty where both are equal. The order of the keys of a reading does not matter."""
    if expected == became:
        return []
    ordered = {**expected, "readings": [_in_order(each) for each in expected["readings"]]}
    lines = difflib.unified_diff(lines_of(ordered), lines_of(became), "expected", "became", lineterm="", n=1)
    return list(lines)


#: Keys of a reading, in the order in which they are written.
_KEYS = ("ordinal", "work_unit", "sensor", "metric", "time", "value", "text", "unit", "timed_by_receipt", "quality")


def _in_order(reading: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: reading[name] for name in _KEYS if name in reading}
    return {**known, **{name: entry for name, entry in reading.items() if name not in known}}


def _reading(row: Mapping[Any, Any], usual: Mapping[str, str]) -> dict[str, Any]:
    text_alone = row["value"] != row["value"] and row["text"] is not None
    quality = Quality(row["quality"])
    reading = {name: row[name] for name in ("ordinal", "metric", "text", "unit")}
    reading |= {name: row[name] for name in ("work_unit", "sensor") if row[name] != usual.get(name)}
    reading["time"] = iso(row["time"])
    reading["timed_by_receipt"] = bool(row["timed_by_receipt"]) or None
    reading["quality"] = None if quality is Quality.GOOD else quality.name.lower()
    kept = {name: entry for name, entry in reading.items() if entry is not None}
    value = None if text_alone else row["value"] if isfinite(row["value"]) else str(row["value"])
    return _in_order({**kept, "value": value})
