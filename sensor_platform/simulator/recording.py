"""Recorded data from a CSV file as messages, a row each, in file order. Streams: a file of any size takes no memory.

Numbers keep the digits of the file: they are copied, never read and printed again.
"""

import csv
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from sensor_platform.errors import SensorPlatformError

TIME_COLUMNS = ("timestamp", "time", "datetime", "date", "ts")
#: What JSON takes as a number, and so is copied as it stands.
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
#: Numbers that JSON writes differently: +1, .5, 1., 007.
_OTHER_NUMBER = re.compile(r"(?P<sign>[+-]?)0*(?P<whole>[0-9]*)(\.(?P<rest>[0-9]*))?(?P<power>([eE][+-]?[0-9]+)?)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RecordingError(SensorPlatformError):
    """A recording that cannot be read; says which file, line and column."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the recording: when it was recorded, and the message that it becomes."""

    time: datetime
    payload: bytes


class Recording:
    """`with Recording(path) as rows: for row in rows: ...`. `texts` counts the cells read that are no numbers."""

    def __init__(self, path: Path, *, time_column: str | None = None, exclude: Sequence[str] = ()) -> None:
        self._path = path
        self._wanted_time = time_column
        self._exclude = frozenset(exclude)
        self._file: TextIO | None = None
        self.texts = 0
        self.first_text: str | None = None

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open(encoding="utf-8-sig", newline="")
        except OSError as err:
            raise RecordingError(f"{self._path}: cannot be read: {err.strerror}") from err
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def name(self) -> str:
        return self._path.name

    @property
    def size_bytes(self) -> int:
        return self._path.stat().st_size

    @property
    def read_bytes(self) -> int:
        """How far it was read, for a progress bar."""
        return self._file.buffer.tell() if self._file is not None else 0

    def __iter__(self) -> Iterator[Row]:
        assert self._file is not None, "use it in a with block"
        reader = csv.reader(self._lines(), delimiter=self._delimiter(), strict=True)
        try:
            header = next(reader, [])
            at = self._time_place(header)
            columns = self._metric_columns(header, at)
            for cells in reader:
                if cells:
                    yield self._row(cells, header, at, columns, reader.line_num)
        except csv.Error as err:
            raise RecordingError(f"{self._path}:{reader.line_num}: not CSV: {err}") from err

    def _lines(self) -> Iterator[str]:
        assert self._file is not None
        try:
            # readline(), not iteration, which would make tell() impossible.
            yield from iter(self._file.readline, "")
        except UnicodeDecodeError as err:
            raise RecordingError(f"{self._path}: not UTF-8 at byte {err.start}. Convert it: iconv -t UTF-8") from err

    def _delimiter(self) -> str:
        assert self._file is not None
        try:
            first = self._file.readline()
        except UnicodeDecodeError as err:
            raise RecordingError(f"{self._path}: the header is not UTF-8. Convert it: iconv -t UTF-8") from err
        self._file.seek(0)
        return ";" if first.count(";") > first.count(",") else ","

    def _time_place(self, header: list[str]) -> int:
        names = [self._wanted_time] if self._wanted_time else TIME_COLUMNS
        folded = [name.strip() if self._wanted_time else name.strip().lower() for name in header]
        for name in names:
            if name in folded:
                return folded.index(name)
        wanted = f'no column "{self._wanted_time}"' if self._wanted_time else "no time column"
        shown = ", ".join(header) or "(an empty file)"
        raise RecordingError(f"{self._path}:1: {wanted} among: {shown}. Name it with --time-column.")

    def _metric_columns(self, header: list[str], at: int) -> list[tuple[int, str]]:
        """Place and JSON text of the name of each metric's column."""
        names = [name.strip() for name in header]
        unknown = self._exclude - set(names)
        if unknown:
            raise RecordingError(f"{self._path}:1: no column {', '.join(sorted(unknown))} to exclude")
        columns = [(i, name) for i, name in enumerate(names) if i != at and name not in self._exclude]
        twice = {name for _, name in columns if [other for _, other in columns].count(name) > 1}
        if twice or not columns:
            reason = f"columns named twice: {', '.join(sorted(twice))}" if twice else "no column besides the time"
            raise RecordingError(f"{self._path}:1: {reason}")
        return [(i, json.dumps(name)) for i, name in columns]

    def _row(self, cells: list[str], header: list[str], at: int, columns: list[tuple[int, str]], line: int) -> Row:
        if len(cells) != len(header):
            raise RecordingError(f"{self._path}:{line}: {len(cells)} cells, the header has {len(header)}")
        recorded = _time(cells[at])
        if recorded is None:
            raise RecordingError(
                f'{self._path}:{line}: column "{header[at]}": "{cells[at]}" is not a time. '
                "Accepted: ISO 8601, or a number since 1970 (s, ms, us, ns)."
            )
        metrics = ", ".join(
            f"{name}: {self._value(cells[i].strip(), name, line)}" for i, name in columns if cells[i].strip()
        )
        stamp = recorded.isoformat().replace("+00:00", "Z")
        return Row(recorded, f'{{"timestamp": "{stamp}", "metrics": {{{metrics}}}}}'.encode())

    def _value(self, cell: str, name: str, line: int) -> str:
        number = _number(cell)
        if number is not None:
            return number
        self.texts += 1
        self.first_text = self.first_text or f"line {line}, column {name}: {cell}"
        return json.dumps(cell)


def paced(rows: Iterator[Row], *, speed: float | None) -> Iterator[Row]:
    """The rows in recorded time, `speed` times as fast. A step back in time takes no time."""
    started, due_s, last = time.monotonic(), 0.0, None
    for row in rows:
        if speed is not None and last is not None:
            due_s += max((row.time - last).total_seconds(), 0) / speed
            time.sleep(max(started + due_s - time.monotonic(), 0))
        last = row.time
        yield row


def _number(cell: str) -> str | None:
    """The JSON number of a cell, with the digits of the file; None: it is none."""
    if _JSON_NUMBER.fullmatch(cell):
        return cell
    found = _OTHER_NUMBER.fullmatch(cell)
    if found is None or not any(character.isdigit() for character in cell.lower().partition("e")[0]):
        return None
    fraction = f".{found['rest']}" if found["rest"] else ""
    return f"{found['sign'].strip('+')}{found['whole'] or '0'}{fraction}{found['power']}"


def _time(cell: str) -> datetime | None:
    cell = cell.strip()
    try:
        if _JSON_NUMBER.fullmatch(cell) and len(cell) != len("20130101"):
            return _EPOCH + timedelta(microseconds=_microseconds(cell))
        parsed = datetime.fromisoformat(cell)
    except (ValueError, OverflowError):
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def _microseconds(cell: str) -> int:
    """Of a number since 1970 whose size tells its unit, as the default routes read it."""
    number = Decimal(cell)
    units = ((10**17, Decimal("0.001")), (10**14, Decimal(1)), (10**11, Decimal(1000)))
    factor = next((factor for least, factor in units if abs(number) >= least), Decimal(1_000_000))
    return int(number * factor)
