"""The registry file, YAML or CSV, as declarations with their lines. A field that it leaves out stays as it stands.

All problems are told at once: who mends a list of a thousand sensors does not want them one by one. In CSV an empty
cell says nothing; in YAML `null` takes a field away.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from sensor_platform.pipeline.calibration import in_order
from sensor_platform.pipeline.declarations import (
    CalibrationEntry,
    Declaration,
    Entry,
    MetricEntry,
    RegistryEntry,
    RegistryError,
    SensorEntry,
    Subject,
    WorkUnitEntry,
    spelled,
    wrong,
)
from sensor_platform.routes.wording import did_you_mean

SUFFIXES = (".yaml", ".yml", ".csv")
OF_WORK_UNIT = ("level", "parent")
OF_SENSOR = ("expected_interval_s",)
OF_SERIES = ("unit", "minimum", "maximum")
#: A row has one calibration: a series of several has as many rows.
OF_CALIBRATION = ("valid_from", "valid_to", "scale", "offset")
#: `description` is that of the sensor, and in a row without one that of the work unit.
CSV_COLUMNS = ("work_unit", *OF_WORK_UNIT, "sensor", *OF_SENSOR, "description", "metric", *OF_SERIES, *OF_CALIBRATION)

E = TypeVar("E", bound=Entry)


def read_registry(path: Path) -> list[Declaration]:
    """What the file says, in its order.

    Raises:
        RegistryError: a sentence with file and line for each problem.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise RegistryError([f"{path}: a registry file ends in {', '.join(SUFFIXES)}"])
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as err:
        raise RegistryError([f"{path}: cannot read it: {err.strerror}"]) from err
    except UnicodeDecodeError as err:
        raise RegistryError([f"{path}: it is not UTF-8 at byte {err.start}"]) from err
    reader = _Reader(str(path))
    found = reader.csv(text) if path.suffix.lower() == ".csv" else reader.yaml(text)
    if reader.problems:
        raise RegistryError(reader.problems)
    return found


@dataclass(slots=True)
class _Reader:
    source: str
    problems: list[str] = field(default_factory=list)
    _said: dict[Subject, Declaration] = field(default_factory=dict)

    def yaml(self, text: str) -> list[Declaration]:
        document = self._parsed(text)
        try:
            entry = RegistryEntry.model_validate(_plain(document))
        except ValidationError as err:
            for error in err.errors(include_url=False):
                self._problem(_line_of(document, error["loc"]), _sentence(error, RegistryEntry, _who(document, error)))
            return []
        for place, unit in enumerate(entry.work_units):
            line = _line_of(document, ("work_units", place))
            self._once(Declaration((unit.work_unit,), unit.says("work_unit"), line))
        for place, sensor in enumerate(entry.sensors):
            at = ("sensors", place)
            subject = (sensor.work_unit, sensor.sensor)
            says = sensor.says("work_unit", "sensor", "metrics")
            self._once(Declaration(subject, says, _line_of(document, at)))
            for number, metric in enumerate(sensor.metrics):
                line = _line_of(document, (*at, "metrics", number))
                self._once(Declaration((*subject, metric.metric), metric.says("metric"), line))
        return list(self._said.values())

    def csv(self, text: str) -> list[Declaration]:
        header = text.split("\n", 1)[0]
        delimiter = ";" if header.count(";") > header.count(",") else ","
        rows = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            columns = [name.strip() for name in next(rows, [])]
            if self._knows(columns):
                for row in rows:
                    self._row(columns, [cell.strip() for cell in row], rows.line_num)
        except csv.Error as err:
            self._problem(rows.line_num, f"not CSV: {err}")
        return list(self._said.values())

    def _parsed(self, text: str) -> Any:
        try:
            document = YAML(typ="rt").load(text)
        except MarkedYAMLError as err:
            mark = err.problem_mark or err.context_mark
            reason = (err.problem or "not YAML").split("\n")[0]
            raise RegistryError([f"{self.source}:{mark.line + 1 if mark else 1}: not YAML: {reason}"]) from err
        except (YAMLError, RecursionError, ValueError) as err:
            reason = str(err).splitlines()[0] if str(err) else type(err).__name__
            raise RegistryError([f"{self.source}:1: not YAML: {reason}"]) from err
        if not isinstance(document, CommentedMap):
            wanted = "a registry file is a mapping with lists under work_units and sensors"
            raise RegistryError([f"{self.source}:1: {wanted}"])
        return document

    def _knows(self, columns: Sequence[str]) -> bool:
        for name in columns:
            if name not in CSV_COLUMNS or columns.count(name) > 1:
                wrong = "twice" if name in CSV_COLUMNS else f"unknown.{did_you_mean(name, CSV_COLUMNS)}"
                self._problem(1, f'the column "{name}" is {wrong}')
        if "work_unit" not in columns:
            self._problem(1, f"the column work_unit is missing. Known: {', '.join(CSV_COLUMNS)}")
        return not self.problems

    def _row(self, columns: Sequence[str], cells: Sequence[str], line: int) -> None:
        if not any(cells):
            return
        if len(cells) > len(columns):
            self._problem(line, f"{len(cells)} cells, and {len(columns)} columns")
            return
        said = {name: cell for name, cell in zip(columns, cells, strict=False) if cell}
        for name, needs in (("sensor", ("work_unit",)), ("metric", ("sensor",))):
            if name in said and any(need not in said for need in needs):
                self._problem(line, f"a {name} without a {needs[0]}")
                return
        for name, group in (("sensor", OF_SENSOR), ("metric", (*OF_SERIES, *OF_CALIBRATION))):
            for stray in group:
                if stray in said and name not in said:
                    self._problem(line, f"{stray} is of a {name}, and the row names none")
        for declaration in self._of_row(said, line):
            self._merge(declaration)

    def _of_row(self, said: Mapping[str, str], line: int) -> Iterator[Declaration]:
        identity = tuple(said[name] for name in ("work_unit", "sensor", "metric") if name in said)
        of_unit = ("work_unit", *OF_WORK_UNIT, *(() if "sensor" in said else ("description",)))
        if (unit := self._checked(WorkUnitEntry, said, of_unit, identity, line)) is not None:
            yield Declaration((unit.work_unit,), unit.says("work_unit"), line)
        if "sensor" not in said:
            return
        of_sensor = ("work_unit", "sensor", *OF_SENSOR, "description")
        if (sensor := self._checked(SensorEntry, said, of_sensor, identity, line)) is not None:
            yield Declaration(identity[:2], sensor.says("work_unit", "sensor"), line)
        if "metric" not in said:
            return
        metric = self._checked(MetricEntry, said, ("metric", *OF_SERIES), identity, line)
        calibration = self._checked(CalibrationEntry, said, OF_CALIBRATION, identity, line)
        if metric is not None and calibration is not None:
            says = metric.says("metric")
            if calibration.model_fields_set:
                says["calibrations"] = (calibration.calibration(),)
            yield Declaration(identity, says, line)

    def _checked(
        self, model: type[E], said: Mapping[str, str], columns: Sequence[str], identity: Subject, line: int
    ) -> E | None:
        try:
            return model.model_validate({name: said[name] for name in columns if name in said})
        except ValidationError as err:
            for error in err.errors(include_url=False):
                self._problem(line, _sentence(error, model, spelled(identity)))
            return None

    def _once(self, declaration: Declaration) -> None:
        before = self._said.setdefault(declaration.subject, declaration)
        if before is not declaration:
            # What an alias repeats has the line of its anchor.
            again = declaration.line == before.line
            where = "and an alias says it once more" if again else f"and in line {before.line} already"
            self._problem(declaration.line, f"{spelled(declaration.subject)} is here, {where}")

    def _merge(self, declaration: Declaration) -> None:
        """Rows repeat what they say of work units and sensors: they must not differ. Calibrations add up."""
        before = self._said.setdefault(declaration.subject, declaration)
        for name, value in declaration.says.items():
            if name != "calibrations" and name in before.says and before.says[name] != value:
                who, was = spelled(declaration.subject), before.says[name]
                self._problem(declaration.line, f"{who}: {name} is {value} here, and {was} in line {before.line}")
        merged = {**declaration.says, **before.says}
        if "calibrations" in merged:
            both = {*before.says.get("calibrations", ()), *declaration.says.get("calibrations", ())}
            merged["calibrations"] = in_order(both)
        self._said[declaration.subject] = Declaration(declaration.subject, merged, before.line)

    def _problem(self, line: int | None, sentence: str) -> None:
        self.problems.append(f"{self.source}:{line}: {sentence}")


def _sentence(error: ErrorDetails, model: type[Entry], who: str) -> str:
    name = next((str(part) for part in reversed(error["loc"]) if isinstance(part, str)), "")
    prefix = f"{who}: " if who else ""
    if error["type"] == "extra_forbidden":
        return f"{prefix}unknown key {name}.{did_you_mean(name, _keys(model, error['loc'][:-1]))}"
    if error["type"] == "missing":
        return f"{prefix}{name} is missing"
    return f"{prefix}{name}: {error['input']!r}: {wrong(error)}"


def _keys(model: type[Entry], loc: Sequence[int | str]) -> Sequence[str]:
    inner: dict[str, type[Entry]] = {
        "work_units": WorkUnitEntry,
        "sensors": SensorEntry,
        "metrics": MetricEntry,
        "calibrations": CalibrationEntry,
    }
    last = next((part for part in reversed(loc) if isinstance(part, str)), None)
    return list((model if last is None else inner.get(last, model)).model_fields)


def _who(document: Any, error: ErrorDetails) -> str:
    """The thing that a problem is about, as far as it is named."""
    named: dict[str, str] = {}
    for part in error["loc"]:
        document = document[part] if _has(document, part) else None
        if isinstance(document, CommentedMap):
            named |= {name: str(document[name]) for name in ("work_unit", "sensor", "metric") if document.get(name)}
    return spelled(tuple(named.values()))


def _has(node: Any, part: int | str) -> bool:
    if isinstance(node, CommentedMap):
        return part in node
    return isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node)


def _line_of(document: Any, loc: Sequence[int | str]) -> int:
    """The line of the innermost part of `loc` that the file has."""
    line = 1
    for part in loc:
        if not _has(document, part):
            break
        at = document.lc.item(part) if isinstance(part, int) else document.lc.key(part)
        line, document = int(at[0]) + 1, document[part]
    return line


def _plain(node: Any) -> Any:
    if isinstance(node, CommentedMap):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    return node.isoformat() if isinstance(node, date) else node  # a datetime is a date
