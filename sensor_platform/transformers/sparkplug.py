"""Sparkplug B: edge nodes and their devices say in a birth what their metrics are, then send them under aliases.

Births and deaths are few and are walked through in received order, since they say what the data after them means; data,
which is nearly everything, is read and resolved a column at a time.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from sensor_platform.transformers.contract import READING_COLUMNS, WHOLE_MESSAGE, Decoded, PayloadColumn, Refusal
from sensor_platform.transformers.definitions import Timeline
from sensor_platform.transformers.judge import MAX_NAME_CHARACTERS
from sensor_platform.transformers.keeping import DTYPES
from sensor_platform.transformers.leaves import RefusedValueError
from sensor_platform.transformers.numbers import is_storable, shown
from sensor_platform.transformers.options import FormatOptions, options_of
from sensor_platform.transformers.registry import transformer
from sensor_platform.transformers.sparkplug_births import DEVICES, SESSION, Birth, compiled, content_of
from sensor_platform.transformers.sparkplug_metrics import GREATEST_MS, Piece, Reading, Vocabulary
from sensor_platform.transformers.sparkplug_payload import Rows, add_metrics, read_payload, timestamp_of
from sensor_platform.transformers.sparkplug_topic import Place, Type, place_of
from sensor_platform.transformers.sparkplug_wire import read_simple

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route
    from sensor_platform.transformers.sparkplug_b.sparkplug_b_pb2 import Payload

#: What is about the session or the node's controls, and no measurement.
CONTROLS = ("bdSeq", "Node Control/*", "Device Control/*")
BDSEQ = "bdSeq"
#: Data messages that are read in step: their columns fit in the processor's cache.
PIECE_MESSAGES = 4096
#: Of one node, whose deaths are told when the node dies. Each birth of a new one notes all of them.
MAX_DEVICES = 1000


class SparkplugOptions(FormatOptions):
    """How the places of Sparkplug become ours.

    work_unit: `group` (the sensor is then node, or node/device) or `node` (group/node; the sensor is then the device,
    or the node itself). online: the metric that births set to 1 and deaths to 0; empty: none. exclude: patterns of
    metrics that are no readings.
    """

    work_unit: Literal["group", "node"] = "group"
    online: str = "online"
    exclude: tuple[str, ...] = CONTROLS


@transformer("sparkplug", version="1", columns=True, options=SparkplugOptions)
def decode_sparkplug(column: PayloadColumn, route: "Route") -> Decoded:
    return _Decoding(column, route).decoded()


@dataclass(slots=True)
class _Decoding:
    """One payload column: first the births and deaths, then all metrics."""

    column: PayloadColumn
    route: "Route"
    options: SparkplugOptions = field(init=False)
    timeline: Timeline = field(init=False)
    places: list[Place] = field(init=False)  # of each different topic
    place_of: np.ndarray = field(init=False)  # per message
    payload_times: np.ndarray = field(init=False)  # per message, ms, -1: none
    rows: Rows = field(default_factory=Rows)
    refusals: list[Refusal] = field(default_factory=list)
    ignored: set[int] = field(default_factory=set)
    online: list[tuple[int, int, Place, float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.options = options_of(self.route, SparkplugOptions)
        self.payload_times = np.full(len(self.column), -1, dtype=np.int64)
        self.timeline = Timeline(self.column.definitions)
        codes: dict[str, int] = {}
        numbered = (codes.setdefault(topic, len(codes)) for topic in self.column.topics)
        self.place_of = np.fromiter(numbered, dtype=np.int64, count=len(self.column))
        self.places = [place_of(topic) for topic in codes]
        self.timeline.expect({key for place in self.places for key in place.keys})

    def decoded(self) -> Decoded:
        types = np.array([place.type for place in self.places], dtype=object)[self.place_of]
        is_data = (types == Type.DATA) if len(types) else np.zeros(0, dtype=bool)
        for message in np.flatnonzero(~is_data).tolist():
            self._hear(message, self.places[self.place_of[message]])
        reading = Reading(
            Vocabulary(*self._births_in_force(), self.options.exclude),
            received_at=self.column.received_at,
            payload_times=self.payload_times,
            who=[place.key for place in self.places],
            who_of=self.place_of,
            allow_nan=self.route.allow_nan,
        )
        # Messages of one topic behind each other: they are likely to be of one shape.
        data = np.flatnonzero(is_data)
        data = data[np.argsort(self.place_of[data], kind="stable")]
        for start in range(0, len(data), PIECE_MESSAGES):
            self._read_data(data[start : start + PIECE_MESSAGES], reading)
        reading.add(Piece.of_rows(self.rows))
        readings = self._frame(reading)
        self.refusals += reading.refusals
        # All that such a message says is null, or left out by a rule.
        said = reading.heard.copy()
        said[readings["message"].to_numpy(np.int64)] = False
        said[[refusal.message for refusal in self.refusals]] = False
        ignored = sorted(self.ignored.union(np.flatnonzero(said).tolist()))
        return Decoded(readings, self.refusals, self.timeline.found, ignored)

    # ---- births, deaths, commands

    def _hear(self, message: int, place: Place) -> None:
        if place.type is Type.OTHER:
            self.ignored.add(message)
            return
        try:
            if place.type is Type.UNKNOWN:
                raise RefusedValueError("invalid_sparkplug", f"the topic {shown(place.topic)} is none of Sparkplug B")
            payload = read_payload(self.column.payloads[message])
            at_ms = self.payload_times[message] = timestamp_of(payload)
            if at_ms > GREATEST_MS:
                raise RefusedValueError("invalid_timestamp", f"the time {at_ms} ms is none")
            if place.type is Type.BIRTH:
                self._bear(message, place, payload, int(at_ms))
            else:
                self._bury(message, place, payload, int(at_ms))
        except RefusedValueError as err:
            self.refusals.append(Refusal(message, WHOLE_MESSAGE, err.code, err.detail))

    def _bear(self, message: int, place: Place, payload: "Payload", at_ms: int) -> None:
        first = len(self.rows.message)
        add_metrics(self.rows, message, payload)
        rows = range(first, len(self.rows.message))
        metrics = [
            (name, None if self.rows.alias[row] < 0 else self.rows.alias[row], max(self.rows.datatype[row], 0), unit)
            for row in rows
            if (name := self.rows.name[row]) is not None and 0 < len(name) <= MAX_NAME_CHARACTERS and is_storable(name)
            for unit in [_storable_or_none(self.rows.unit[row])]
        ]
        self.timeline.define(message, place.key, content_of(metrics))
        if place.device is None:
            session = next((self.rows.bits[row] for row in rows if self.rows.name[row] == BDSEQ), None)
        else:
            session = self._session(place.node_key, message)
            known = self._devices(place, message)
            if place.device not in known and len(known) < MAX_DEVICES:
                self.timeline.define(message, place.node_key + DEVICES, {"devices": sorted([*known, place.device])})
        self.timeline.define(message, place.key + SESSION, {"bdSeq": session})
        self.online.append((message, len(rows), place, 1.0, at_ms))

    def _bury(self, message: int, place: Place, payload: "Payload", at_ms: int) -> None:
        if place.device is not None:
            self.online.append((message, 0, place, 0.0, at_ms))
            return
        rows = Rows()
        add_metrics(rows, message, payload)
        died = next((bits for name, bits in zip(rows.name, rows.bits, strict=True) if name == BDSEQ), None)
        living = self._session(place.key, message)
        if died is not None and living is not None and died != living:
            # A will of an earlier session, late: the node has connected again since.
            self.ignored.add(message)
            return
        # The will was written when the node connected: only its receipt says when it died.
        devices = [place.of_device(device) for device in self._devices(place, message)]
        self.online += [(message, ordinal, each, 0.0, -1) for ordinal, each in enumerate([place, *devices])]

    def _session(self, node_key: str, message: int) -> int | None:
        content = self.timeline.latest(node_key + SESSION, message)
        return None if content is None else content["bdSeq"]

    def _devices(self, place: Place, message: int) -> list[str]:
        content = self.timeline.latest(place.node_key + DEVICES, message)
        return [] if content is None else content["devices"]

    # ---- data

    def _read_data(self, data: np.ndarray, reading: Reading) -> None:
        """Simple payloads in step; what is left, row by row, into what births have brought already."""
        simple = read_simple([self.column.payloads[message] for message in data.tolist()])
        self.payload_times[data] = simple.payload_timestamp
        for message in data[~simple.readable].tolist():
            try:
                payload = read_payload(self.column.payloads[message])
                self.payload_times[message] = timestamp_of(payload)
                add_metrics(self.rows, message, payload)
            except RefusedValueError as err:
                self.refusals.append(Refusal(message, WHOLE_MESSAGE, err.code, err.detail))
        reading.add(Piece.of_simple(simple, data))

    def _births_in_force(self) -> tuple[list[Birth], np.ndarray]:
        """The different births, and which of them holds at each message; -1: none."""
        births: dict[int, int] = {}
        compiled_births: list[Birth] = []
        of_message = np.full(len(self.column), -1, dtype=np.int64)
        order = np.argsort(self.place_of, kind="stable")
        starts = np.searchsorted(self.place_of[order], np.arange(len(self.places) + 1))
        for number, place in enumerate(self.places):
            if place.type not in (Type.DATA, Type.BIRTH):
                continue
            messages = order[starts[number] : starts[number + 1]]
            since, contents = self.timeline.history(place.key)
            numbers = []
            for content in contents:
                if id(content) not in births:
                    births[id(content)] = len(compiled_births)
                    compiled_births.append(compiled(content))
                numbers.append(births[id(content)])
            found = np.searchsorted(np.array(since, dtype=np.int64), messages, side="right")
            in_force = np.array([-1, *numbers], dtype=np.int64)[found]
            if place.device is not None and place.type is Type.DATA:
                in_force[_of_another_session(self.timeline, place, messages)] = -1
            of_message[messages] = in_force
        return compiled_births, of_message

    # ---- readings

    def _frame(self, reading: Reading) -> pd.DataFrame:
        if self.options.online and self.online:
            reading.add_readings(self._online_columns())
        columns = reading.columns()
        who = columns.pop("who")
        for name in ("work_unit", "sensor"):
            columns[name] = self._identity(name, columns["message"], who)
        return pd.DataFrame(
            {name: pd.Series(columns[name], dtype=columns[name].dtype, copy=False) for name in READING_COLUMNS},
            copy=False,
        )

    def _identity(self, name: str, message: np.ndarray, who: np.ndarray) -> np.ndarray:
        """Of each reading. What the route says, as a capture or a constant, stands above what Sparkplug says."""
        captures = self.column.captures
        if len(captures) and name in captures[0]:
            given = np.array([capture[name] for capture in captures], dtype=object)
            return np.asarray(given[message])
        own = np.array([getattr(self._named(place), name) for place in self.places], dtype=object)
        return np.asarray(own[who])

    def _named(self, place: Place) -> "_Named":
        return _named(place.group, place.node, place.device, self.options.work_unit)

    def _online_columns(self) -> dict[str, np.ndarray]:
        """Births and deaths, as readings of their own metric."""
        rows = []
        for message, ordinal, place, value, at_ms in self.online:
            # Devices that die with their node need not have said anything here.
            self.places.append(place)
            at = int(self.column.received_at[message]) if at_ms < 0 else at_ms * 1000
            rows.append(
                (message, len(self.places) - 1, ordinal, self.options.online, at, at_ms < 0, value, None, None, 0)
            )
        names = ("message", "who", "ordinal", "metric", "time", "timed_by_receipt", "value", "text", "unit", "quality")
        columns = zip(*rows, strict=True)
        return {
            name: np.array([*column], dtype=DTYPES.get(name, np.int64))
            for name, column in zip(names, columns, strict=True)
        }


def _of_another_session(timeline: Timeline, place: Place, messages: np.ndarray) -> np.ndarray:
    """Whether the node was born again since, and the device was not yet."""

    def at(key: str) -> np.ndarray:
        since, contents = timeline.history(key + SESSION)
        numbers = np.array([-1, *(-1 if one["bdSeq"] is None else one["bdSeq"] for one in contents)], dtype=np.float64)
        found = np.searchsorted(np.array(since, dtype=np.int64), messages, side="right")
        return np.asarray(numbers[found])

    node, device = at(place.node_key), at(place.key)
    return np.asarray((node >= 0) & (device >= 0) & (node != device))


def _storable_or_none(text: str | None) -> str | None:
    return text if text is not None and is_storable(text) else None


@dataclass(frozen=True, slots=True)
class _Named:
    work_unit: str
    sensor: str


@lru_cache(maxsize=65_536)
def _named(group: str, node: str, device: str | None, work_unit: str) -> _Named:
    if work_unit == "node":
        return _Named(f"{group}/{node}", node if device is None else device)
    return _Named(group, node if device is None else f"{node}/{device}")
