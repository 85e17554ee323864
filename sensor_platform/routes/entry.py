"""One entry under `routes`, checked key by key, to a Route."""

from collections.abc import Collection
from dataclasses import dataclass
from types import UnionType
from typing import Any, get_args

from pydantic import ValidationError
from ruamel.yaml.comments import CommentedMap

from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.deadband import Deadband, deadband_problem
from sensor_platform.routes.document import deepest_line, error_at, line_of, plain, shown
from sensor_platform.routes.filters import CAPTURES, TopicFilter, parse_filter
from sensor_platform.routes.formats import NAMES_SENSORS, Formats, known_formats
from sensor_platform.routes.included import Included
from sensor_platform.routes.model import Compression, Conflicts, Retained, Route, Silent
from sensor_platform.routes.named_contracts import NamedContracts
from sensor_platform.routes.wording import did_you_mean

#: Key of a route -> what it accepts.
ROUTE_KEYS: dict[str, type | UnionType | tuple[str, ...]] = {
    "name": str,
    "filter": str,
    "format": str,
    "work_unit": str,
    "sensor": str,
    "text": bool,
    "allow_nan": bool,
    "compression": get_args(Compression),
    "retained": get_args(Retained),
    "conflicts": get_args(Conflicts),
    "no_readings": get_args(Silent),
    "ignore": bool,
    "units": dict,
    "options": dict,
    "contract": str | dict,
    "report_by_exception": dict,
}
_TYPE_NAMES: dict[type | UnionType, str] = {
    str: "a text of at least one character",
    bool: "true or false",
    dict: "a mapping",
    str | dict: "a contract, or the name of one under contracts",
}


def check_keys(source: str, mapping: CommentedMap, known: Collection[str], who: str = "") -> None:
    """Raises ConfigurationError at the first key that is not one of `known`."""
    for key in mapping:
        if key not in known:
            problem = f'{who}unknown key "{key}".{did_you_mean(str(key), known)}'
            raise error_at(source, line_of(mapping, key), problem)


@dataclass(frozen=True, slots=True)
class EntryReader:
    """Reads the entries of one file. formats None: neither formats nor their options are checked."""

    source: str
    formats: Formats | None
    contracts: NamedContracts
    included: Included | None = None

    def route(self, entry: Any, line: int) -> Route:
        """The route of an entry. Raises ConfigurationError: one line with file, line, route and what is accepted."""
        if not isinstance(entry, CommentedMap):
            raise self._error(line, "a route is a mapping with name, filter and format")
        name = entry.get("name")
        who = f'route "{name}"' if isinstance(name, str) else "a route without a name"
        check_keys(self.source, entry, ROUTE_KEYS, f"{who}: ")
        for key, value in entry.items():
            self._check_value(entry, key, value, who)
        for key in ("name", "filter"):
            if key not in entry:
                raise self._error(line, f"{who}: {key} is missing")
        if self.included is not None:
            self.included.completed(entry, {name for _, name in self._filter_of(entry, who).captures})
        self._check_filter(entry, who)
        self._check_format(entry, line, who)
        self._check_options(entry, line, who)
        self._check_units(entry, who)
        self._check_deadbands(entry, who)
        mappings = {name: plain(entry.get(name, {})) for name in ("units", "options", "report_by_exception")}
        return Route(**{**entry, **mappings, "contract": self.contracts.of(entry, who)})

    def _check_value(self, entry: CommentedMap, key: str, value: Any, who: str) -> None:
        accepts = ROUTE_KEYS[key]
        if isinstance(accepts, tuple):
            ok, accepted = value in accepts, " or ".join(accepts)
        else:
            ok = isinstance(value, accepts) and (accepts is not str or bool(value))
            accepted = _TYPE_NAMES[accepts]
        if not ok:
            raise self._error(line_of(entry, key), f"{who}: {key}: {shown(value)} is not accepted, only {accepted}")

    def _filter_of(self, entry: CommentedMap, who: str) -> TopicFilter:
        try:
            return parse_filter(entry["filter"])
        except ValueError as err:
            raise self._error(line_of(entry, "filter"), f'{who}: filter "{entry["filter"]}": {err}') from err

    def _check_filter(self, entry: CommentedMap, who: str) -> None:
        captured = {name for _, name in self._filter_of(entry, who).captures}
        for name in CAPTURES:
            if name in captured and name in entry:
                problem = f"{who}: {name} is a capture of the filter already: leave one out"
                raise self._error(line_of(entry, name), problem)
            says = name in captured or name in entry or name in (entry.get("options") or ())
            if not says and not entry.get("ignore") and entry.get("format") not in NAMES_SENSORS:
                advice = f"capture it in the filter as {{{name}}} or give it as a constant"
                problem = f"{who}: nothing says which {name.replace('_', ' ')} it is: {advice}"
                raise self._error(line_of(entry, "filter"), problem)

    def _check_format(self, entry: CommentedMap, line: int, who: str) -> None:
        if "format" not in entry:
            if entry.get("ignore"):
                return
            raise self._error(line, f"{who}: format is missing. Known: {', '.join(known_formats())}")
        problem = None if self.formats is None else self.formats.problem(entry["format"])
        if problem is not None:
            raise self._error(line_of(entry, "format"), f"{who}: {problem}")

    def _check_options(self, entry: CommentedMap, line: int, who: str) -> None:
        if self.formats is None or "format" not in entry:
            return
        given = entry.get("options", CommentedMap())
        problem = self.formats.option_problem(entry["format"], plain(given))
        if problem is not None:
            at = deepest_line(given, problem.loc, line_of(entry, "options") if "options" in entry else line)
            raise self._error(at, f"{who}: {problem.sentence}")

    def _check_units(self, entry: CommentedMap, who: str) -> None:
        for pattern, unit in entry.get("units", {}).items():
            if not isinstance(pattern, str) or not isinstance(unit, str) or not unit:
                problem = f"{who}: units: {shown(pattern)}: {shown(unit)} is not a unit as text"
                raise self._error(line_of(entry["units"], pattern), problem)

    def _check_deadbands(self, entry: CommentedMap, who: str) -> None:
        given = entry.get("report_by_exception", {})
        for pattern, asked in given.items():
            line = line_of(given, pattern)
            if not isinstance(pattern, str) or not isinstance(asked, CommentedMap):
                accepted = 'metrics, or patterns of them, with a deadband each: {"*": {deadband: 0.5}}'
                problem = f"report_by_exception: {shown(pattern)}: {shown(asked)} is not accepted, only {accepted}"
                raise self._error(line, f"{who}: {problem}")
            try:
                Deadband.model_validate(plain(asked))
            except ValidationError as err:
                first = err.errors(include_url=False)[0]
                problem = deadband_problem(pattern, first)
                raise self._error(deepest_line(asked, first["loc"], line), f"{who}: {problem}") from err

    def _error(self, line: int, problem: str) -> ConfigurationError:
        return error_at(self.source, line, problem)
