"""Documents of any shape to the objects of the default route: which fields are readings, and of what.

Every format that yields documents shares it. A route without these options is read by the default rules. A field that
is not there yields no reading; one that is there and is wrong is refused.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from sensor_platform.transformers.leaves import NamesMade, leaves
from sensor_platform.transformers.numbers import GREATEST_INTEGER, LEAST_INTEGER, read_number, scaled
from sensor_platform.transformers.options import FormatOptions
from sensor_platform.transformers.paths import EVERY, NOTHING, every, look_up, parse_path
from sensor_platform.transformers.times import TimeUnit, in_unit, in_zone

#: Names of leaves whose verdict is remembered.
LEAF_NAMES = 65_536

Scalar = bool | int | float | str
Document = dict[str, Any]


def _path(text: str) -> str:
    if EVERY in parse_path(text):
        raise ValueError(f'[*] stands for several places: "{text}" must lead to one; say `each` for arrays')
    return text


def _inner_path(text: str) -> str:
    if not parse_path(_path(text)):
        raise ValueError("$ is the whole document: name a field of it, such as $.at")
    return text


def _list_path(text: str) -> str:
    parse_path(text)
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as err:  # "Europe" is a folder of zones
        raise ValueError(f'there is no time zone "{name}". Accepted: names such as Europe/Berlin') from err
    return name


_steps = lru_cache(parse_path)


Path = Annotated[str, AfterValidator(_path)]
#: Of what stands beside readings: not the document itself.
InnerPath = Annotated[str, AfterValidator(_inner_path)]


class TimeOption(FormatOptions):
    """Where the time stands; of several places, the first that the document has.

    unit: of a number; auto: seconds unless it can only be finer. zone: of a text without an offset; left out: UTC.
    pattern: of a text that is not ISO 8601, as in Python's strptime.
    """

    field: InnerPath | Annotated[tuple[InnerPath, ...], Field(min_length=1)]
    unit: TimeUnit = "auto"
    zone: Annotated[str, AfterValidator(_zone)] | None = None
    pattern: str | None = None

    @property
    def places(self) -> tuple[str, ...]:
        return (self.field,) if isinstance(self.field, str) else self.field

    def read(self, raw: Any) -> Any:
        """Microseconds where the option says how to read it; what is no such time stays as it is, to be refused."""
        if type(raw) is str and (self.zone is not None or self.pattern is not None):
            return in_zone(raw, self.zone or "UTC", self.pattern)
        return raw if self.unit == "auto" else in_unit(raw, self.unit)


class ValueOption(FormatOptions):
    """What is done with a raw value: first the map, then value * scale + offset."""

    unit: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    map: dict[str, Scalar] = Field(default_factory=dict)

    @property
    def changes_values(self) -> bool:
        """A value may then be in another unit than the raw one."""
        return bool(self.map) or (self.scale, self.offset) != (1, 0)

    def converted(self, raw: Any) -> Any:
        """After map, scale and offset; what is no number, or an integer beyond 64 bits, is not scaled."""
        raw = self.map.get(_word(raw), raw) if self.map else raw
        if (self.scale, self.offset) == (1, 0):
            return raw
        number = read_number(raw) if type(raw) is str else raw
        if isinstance(number, int) and not LEAST_INTEGER <= number <= GREATEST_INTEGER:
            return raw  # refused as it is: scaled, it would pass for one that fits
        return scaled(number, self.scale, self.offset) if isinstance(number, int | float) else raw


class DocumentValueOption(ValueOption):
    """The value of a field of a document.

    unit_field: the place of its unit; `unit` holds where the document has none. units: what the document calls a
    unit -> what it is called here.
    """

    unit_field: Path | None = None
    units: dict[str, str] = Field(default_factory=dict)

    def unit_in(self, *documents: Any) -> Any:
        """The unit, looked for in the documents in turn."""
        if self.unit_field is not None:
            steps = _steps(self.unit_field)
            for found in (look_up(document, steps) for document in documents):
                if found is not NOTHING:
                    return self.units.get(found, found) if type(found) is str else found
        return self.unit


_AS_IT_IS = DocumentValueOption()


class ReadingOption(DocumentValueOption):
    """One reading: its value's place, and what else is known of it.

    metric: its name, or a place if it begins with `$`. quality: a place.
    """

    metric: str = Field(min_length=1)
    value: Path
    quality: Path | None = None


class WideOption(FormatOptions):
    """Every numeric leaf below `of` is a metric named by its dotted path; patterns have `*` and `?`.

    values: what is done with the leaves of a pattern, the first that matches. A leaf that a pattern without wildcards
    names, or that has a map, is known to be a value: a text in its place that is neither in the map nor a number is
    refused. Other texts are left out.
    """

    of: Path = "$"
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    values: dict[str, DocumentValueOption] = Field(default_factory=dict)

    def of_leaf(self, name: str) -> DocumentValueOption | None:
        """What is done with the leaf of that name; None: it is left out."""
        found = self.known_leaf(name)
        return None if found is None else found[0]

    def known_leaf(self, name: str) -> tuple[DocumentValueOption, bool] | None:
        """What is done with the leaf of that name, and whether it is known to be a value; None: it is left out."""
        if not _matches(name, self.include) or _matches(name, self.exclude):
            return None
        for pattern, value in self.values.items():
            if fnmatchcase(name, pattern):
                return value, bool(value.map) or not any(wildcard in pattern for wildcard in "*?[")
        return _AS_IT_IS, False


class DocumentOptions(FormatOptions):
    """Which fields of a document are readings; without `readings` and `wide`, the default rules say so.

    each: an array in the document (`$.samples`, `$.a[*].b`): every element is read by itself.
    Time, work unit, sensor and quality are looked for in the element first, then in the document.
    """

    each: Annotated[str, AfterValidator(_list_path)] | None = None
    time: TimeOption | None = None
    work_unit: InnerPath | None = None
    sensor: InnerPath | None = None
    quality: InnerPath | None = None
    qualities: dict[str, Literal["good", "uncertain", "bad"]] = Field(default_factory=dict)
    readings: tuple[ReadingOption, ...] = ()
    wide: WideOption | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.readings and self.wide is not None:
            raise ValueError("say either `readings` or `wide`, in two routes if both are needed")
        return self

    @cached_property
    def scales(self) -> bool:
        """Whether values are scaled, after which an integer that was rounded no longer shows by its size."""
        values = (*self.readings, *(self.wide.values.values() if self.wide is not None else ()))
        return any((value.scale, value.offset) != (1, 0) for value in values)

    @cached_property
    def mapper(self) -> "Mapper | None":
        """None where the default rules read the document as it is."""
        says = self.model_fields_set & DocumentOptions.model_fields.keys()
        return Mapper(self) if says else None


class Mapper:
    """The options, every path parsed once."""

    def __init__(self, options: DocumentOptions) -> None:
        self.names_sensors = options.work_unit is not None or options.sensor is not None
        self._options = options
        self._each = None if options.each is None else parse_path(options.each)
        shared = {"work_unit": options.work_unit, "sensor": options.sensor, "quality": options.quality}
        self._shared = {name: parse_path(path) for name, path in shared.items() if path is not None}
        self._times = [parse_path(place) for place in (options.time.places if options.time is not None else ())]
        self._readings = [_ParsedReading(reading) for reading in options.readings]
        self._wide = None if options.wide is None else parse_path(options.wide.of)
        self._known_leaf = lru_cache(maxsize=LEAF_NAMES)((options.wide or WideOption()).known_leaf)
        self._not_metrics = self._taken_leaves()

    def objects(self, document: Any, names: NamesMade) -> Iterator[Any]:
        """As the default rules want them. Raises RefusedValueError for a document nested too deep, or names too long.

        names: those of the document's message.
        """
        elements = [document] if self._each is None else every(document, self._each)
        for element in elements:
            about = self._about(element, document)
            if self._readings:
                for reading in self._readings:
                    yield from reading.objects(element, about)
            elif self._wide is not None:
                yield from self._leaves(look_up(element, self._wide), about, names, element, document)
            elif type(element) is dict:
                taken = {steps[0] for steps in (*self._times, *self._shared.values())}
                yield {**{name: entry for name, entry in element.items() if name not in taken}, **about}
            else:
                yield {"value": element, **about}

    def _about(self, element: Any, document: Any) -> Document:
        """Time, quality and identity, under the names of the default rules."""
        about: Document = {}
        for name, steps in self._shared.items():
            found = look_up(element, steps)
            found = look_up(document, steps) if found is NOTHING else found
            if found is not NOTHING:
                about[name] = self._options.qualities.get(_word(found), found) if name == "quality" else found
        if self._options.time is not None:
            for steps in self._times:
                found = look_up(element, steps)
                found = look_up(document, steps) if found is NOTHING else found
                if found is not NOTHING:
                    about["timestamp"] = self._options.time.read(found)
                    break
        return about

    def _taken_leaves(self) -> frozenset[str]:
        """Names of leaves below `wide.of` that are the time, the quality or the identity: no metrics."""
        if self._wide is None:
            return frozenset()
        depth = len(self._wide)
        taken = [steps for steps in (*self._times, *self._shared.values()) if steps[:depth] == self._wide]
        return frozenset(".".join(map(str, steps[depth:])) for steps in taken)

    def _leaves(self, tree: Any, about: Document, names: NamesMade, *documents: Any) -> Iterator[Document]:
        if type(tree) is list:
            tree = {str(place): element for place, element in enumerate(tree)}
        if type(tree) is not dict:
            return
        plain: Document = {}
        for name, raw in leaves(tree, (), texts=True, names=names):
            found = self._known_leaf(name)
            if found is None or name in self._not_metrics or (type(raw) is str and not found[1]):
                continue
            value, _ = found
            unit, converted = value.unit_in(*documents), value.converted(raw)
            if unit is None and type(converted) is not str and name not in plain:  # "a.b", and b in a: two of one name
                plain[name] = converted
            else:
                reading = {"metric": name, "value": converted, **about}
                yield reading if unit is None else reading | {"unit": unit}
        if plain:
            yield {"metrics": plain, **about}


class _ParsedReading:
    """A reading of the options, its paths parsed."""

    def __init__(self, option: ReadingOption) -> None:
        self._option = option
        self._value = parse_path(option.value)
        self._metric = parse_path(option.metric) if option.metric.startswith("$") else None
        self._quality = None if option.quality is None else parse_path(option.quality)

    def objects(self, element: Any, about: Document) -> Iterator[Document]:
        raw = look_up(element, self._value)
        metric = self._option.metric if self._metric is None else look_up(element, self._metric)
        if raw is NOTHING or metric is NOTHING:
            return
        reading = {**about, "metric": metric, "value": self._option.converted(raw)}
        unit = self._option.unit_in(element)
        if unit is not None:
            reading["unit"] = unit
        if self._quality is not None and (quality := look_up(element, self._quality)) is not NOTHING:
            reading["quality"] = quality
        yield reading


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _word(raw: Any) -> str:
    """A raw value as the keys of a map have it: YAML and JSON both write true, false and null."""
    match raw:
        case bool():
            return "true" if raw else "false"
        case None:
            return "null"
        case _:
            return str(raw)
