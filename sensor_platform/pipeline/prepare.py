"""Decode, validate, find the series: all of a group that happens before, and outside of, the load's transaction."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sensor_platform.database.copy import ReadingRows
from sensor_platform.pipeline.calibration import calibrated
from sensor_platform.pipeline.catalogue import Begin, Catalogue
from sensor_platform.pipeline.decode import DecodedMessages, decode
from sensor_platform.pipeline.exceptions import thinned
from sensor_platform.pipeline.keys import IDENTITY, Keys
from sensor_platform.pipeline.outcome import Outcome, Source
from sensor_platform.pipeline.route_units import follow_routes
from sensor_platform.pipeline.series import NOTED_UNITS, Seen, Series
from sensor_platform.pipeline.units import in_series_units, unit_of_route
from sensor_platform.routes.model import Route, Routes
from sensor_platform.transformers.contract import Refusal
from sensor_platform.transformers.units import unit_sentence
from sensor_platform.validation.contracts import with_contracts
from sensor_platform.validation.readings import validate

SAMPLES = 5


def prepare(
    sources: list[Source],
    messages: pa.Table,
    source_of: np.ndarray,
    routes: Routes,
    begin: Begin,
    *,
    max_payload_bytes: int,
    seconds: dict[str, float],
    catalogue: Catalogue | None = None,
    again: bool = False,
) -> Outcome:
    """What `messages`, in received order, become. New series and missing partitions are made on the way, by the
    catalogue: that of the database which `begin` opens, unless another is given.

    `again`: a person asked for it, so the units of these routes count whatever they said before.
    """
    started = time.perf_counter()
    catalogue = catalogue or Catalogue(begin)
    stored = catalogue.definitions(sources, source_of, messages)
    decoded = decode(messages, routes, max_payload_bytes=max_payload_bytes, definitions_of=stored.of)
    decoded_at = time.perf_counter()
    follow_routes(decoded, routes, catalogue, again=again)
    units_as_of, registry_as_of = catalogue.unit_changes(), catalogue.registry_version()
    readings, keys, refusals = validate_in_series(decoded, messages, source_of, routes, catalogue)
    readings, series, mismatched = _with_series(readings, keys, routes, catalogue)
    says_nothing_new = thinned(readings, series.of, routes, source_of)
    n_thinned = np.bincount(readings["message"].to_numpy(np.int64)[says_nothing_new], minlength=len(messages))
    if says_nothing_new.any():
        readings = readings[~says_nothing_new].reset_index(drop=True)
        series = _SeriesOf(series.series, series.of[~says_nothing_new])
    refusals = _once([*decoded.refusals, *refusals, *mismatched])
    catalogue.make_partitions(_months(readings["time"].to_numpy(np.int64)))
    seconds["decode"] = seconds.get("decode", 0.0) + decoded_at - started
    seconds["validate"] = seconds.get("validate", 0.0) + time.perf_counter() - decoded_at
    return Outcome(
        sources=sources,
        messages=messages,
        source_of=source_of,
        redelivered=decoded.redelivered,
        ignored=decoded.ignored | _thinned_whole(n_thinned, readings, refusals),
        thinned=n_thinned,
        message=readings["message"].to_numpy(np.int64),
        readings=_rows(readings, series, messages),
        refusals=refusals,
        routes=_describe(decoded, routes),
        transformers=decoded.transformer_versions,
        samples=_samples(readings),
        definitions=decoded.definitions,
        decoded_with=stored.decoded_with(decoded.definitions),
        units_as_of=units_as_of,
        registry_as_of=registry_as_of,
    )


def _thinned_whole(n_thinned: np.ndarray, readings: pd.DataFrame, refusals: list[Refusal]) -> np.ndarray:
    """By message: whether all of its readings were thinned, and nothing of it was refused."""
    whole: np.ndarray = n_thinned > 0
    whole[readings["message"].to_numpy(np.int64)] = False
    whole[np.array([refusal.message for refusal in refusals], np.int64)] = False
    return whole


def validate_in_series(
    decoded: DecodedMessages, messages: pa.Table, source_of: np.ndarray, routes: Routes, catalogue: Catalogue
) -> tuple[pd.DataFrame, Keys, list[Refusal]]:
    """The readings that are accepted, in the units of their series and calibrated, with their series, and a refusal for
    each other."""
    readings = decoded.readings.reset_index(drop=True)
    received_at = messages["received_at"].cast(pa.int64()).to_numpy()
    keys = Keys.of_readings(readings)
    known = catalogue.look_up([key for key in keys.keys if all(isinstance(name, str) for name in key)])
    limits = [known.get(key) for key in keys.keys]
    nan = float("nan")
    units = keys.column([one and one.unit for one in limits])
    converted = in_series_units(readings, units, keys.column([one and one.unnamed_unit for one in limits]))
    calibrations = [() if one is None else one.calibrations for one in limits]
    values, problem = calibrated(converted.readings, keys.of, calibrations, converted.problem)
    checked = values.assign(
        key=keys.of,
        received_at=received_at[readings["message"].to_numpy(np.int64)],
        series_unit=pd.Series(units, dtype=object),
        unit_problem=pd.Series(problem, dtype=object),
        minimum=_floats([nan if one is None or one.minimum is None else one.minimum for one in limits])[keys.of],
        maximum=_floats([nan if one is None or one.maximum is None else one.maximum for one in limits])[keys.of],
    )
    validated = with_contracts(validate(checked), decoded.readings, routes, source_of)
    accepted = validated.accepted
    return accepted, keys.taken(accepted["key"].to_numpy(np.int64)), validated.refusals


def _with_series(
    readings: pd.DataFrame, keys: Keys, routes: Routes, catalogue: Catalogue
) -> tuple[pd.DataFrame, "_SeriesOf", list[Refusal]]:
    """Registers what is new and gives each reading its series; units that do not convert to its own are refused here.

    The units are asked for once more after registering: within a group, and between two processes that meet a new
    series at once, the first unit named is the one that stays.
    """
    known = catalogue.look_up(keys.keys)
    new = [one for one in _seen(readings, keys, routes) if _adds(one, known.get(one.key))]
    if new:
        catalogue.register(new)
        known = catalogue.look_up(keys.keys)
    series = [known[key] for key in keys.keys]
    expected = keys.column([one.unit for one in series])
    converted = in_series_units(readings, expected, keys.column([one.unnamed_unit for one in series]))
    problem = converted.problem
    bad = pd.notna(problem)
    if not bad.any():
        return converted.readings, _SeriesOf(series, keys.of), []
    refused = [
        Refusal(message, ordinal, code, unit_sentence(code, got, want, "series"))
        for message, ordinal, code, got, want in zip(
            readings["message"][bad].tolist(),
            readings["ordinal"][bad].tolist(),
            problem[bad],
            readings["unit"].to_numpy(object)[bad],
            expected[bad],
            strict=True,
        )
    ]
    readings = converted.readings[~bad].reset_index(drop=True)
    return readings, _SeriesOf(series, keys.of[~bad]), refused


@dataclass(frozen=True, slots=True)
class _SeriesOf:
    """The series of some readings, and which one each belongs to."""

    series: list[Series]
    of: np.ndarray

    def ids(self) -> np.ndarray:
        ids: np.ndarray = np.array([one.id for one in self.series], np.int32)[self.of]
        return ids

    def places(self, named: np.ndarray, unnamed: np.ndarray) -> np.ndarray:
        """What each reading keeps of the unit that it named (str or None), or, where it is `unnamed`, was taken to be
        in: nothing if that is the unit of all unnamed readings of its series."""
        codes, units = pd.factorize(named)
        of, pairs = pd.factorize(self.of * (len(units) + 1) + codes + 1)
        names = [None, *units]
        place = [self.series[pair // len(names)].place_of(names[pair % len(names)]) for pair in pairs.tolist()]
        own = np.array([*(one.unnamed_unit for one in self.series), None], dtype=object)[:-1][self.of]
        places: np.ndarray = np.where(unnamed & (named == own), 0, np.array(place, np.int8)[of]).astype(np.int8)
        return places


def _adds(seen: Seen, known: Series | None) -> bool:
    return (
        known is None
        or not known.seen
        or (known.unit is None and seen.unit is not None)
        or (seen.unit_by is not None and known.unit_by is None and known.unit == seen.unit)
        or (seen.unit_by is not None and known.unnamed_by is None and known.unnamed_unit == seen.unit)
        or known.conflicts != seen.conflicts
        or (len(known.units) < NOTED_UNITS and not set(seen.units) <= set(known.units))
    )


def _seen(readings: pd.DataFrame, keys: Keys, routes: Routes) -> list[Seen]:
    """The unit that the route of each series' last reading names, else the first one of a reading; and its policy."""
    unit = readings["unit"].to_numpy(object)
    named = np.flatnonzero(pd.notna(unit))[::-1]
    first_named = dict(zip(keys.of[named].tolist(), named.tolist(), strict=True))
    last = np.zeros(len(keys.keys), np.int64)
    last[keys.of] = np.arange(len(readings))
    last_route = readings["route"].to_numpy(object)[last].tolist()
    used = {name: routes[name] for name in set(last_route)}
    units = _units_named(_named(readings), keys)
    seen = []
    for place, (key, route) in enumerate(zip(keys.keys, last_route, strict=True)):
        of_route = unit_of_route(key[-1], used[route])
        first = str(unit[first_named[place]]) if place in first_named else None
        by = None if of_route is None else route
        seen.append(Seen(key, of_route or first, used[route].conflicts, by, tuple(units.get(place, ()))))
    return seen


def _named(readings: pd.DataFrame) -> np.ndarray:
    """The unit that each reading named, or was taken to be in, before it was converted."""
    source, unit = readings["source_unit"].to_numpy(object), readings["unit"].to_numpy(object)
    return np.where(pd.isna(source), unit, source)


def _units_named(named: np.ndarray, keys: Keys) -> dict[int, list[str]]:
    """Series -> the different units that its readings name, in order."""
    codes, units = pd.factorize(named)
    pairs = pd.unique(keys.of[codes >= 0] * len(units) + codes[codes >= 0])
    found: dict[int, list[str]] = {}
    for pair in pairs.tolist():
        found.setdefault(pair // len(units), []).append(units[pair % len(units)])
    return found


def _rows(readings: pd.DataFrame, series: _SeriesOf, messages: pa.Table) -> ReadingRows:
    message = readings["message"].to_numpy(np.int64)
    text, named = readings["text"].to_numpy(object), _named(readings)
    return ReadingRows(
        time=readings["time"].to_numpy(np.int64),
        value=readings["value"].to_numpy(np.float64),
        sequence=messages["sequence"].to_numpy()[message],
        series=series.ids(),
        micro_batch=np.zeros(len(readings), np.int32),
        ordinal=readings["ordinal"].to_numpy(np.int32),
        quality=readings["quality"].to_numpy(np.int16),
        timed_by_receipt=readings["timed_by_receipt"].to_numpy(bool),
        source_unit=series.places(_none_where(pd.isna(named), named), readings["unnamed"].to_numpy(bool)),
        text=_none_where(pd.isna(text), text),
    )


def _once(refusals: list[Refusal]) -> list[Refusal]:
    """One refusal a place: a dead letter is found again by its micro-batch, sequence and ordinal."""
    first: dict[tuple[int, int], Refusal] = {}
    for refusal in refusals:
        first.setdefault((refusal.message, refusal.ordinal), refusal)
    return list(first.values())


def _describe(decoded: DecodedMessages, routes: Routes) -> dict[str, dict[str, str]]:
    """The routes that were used, as the ledger keeps them: `trace` finds the one of a topic by its filter."""
    return {name: {"version": version, **_described(routes[name])} for name, version in decoded.route_versions.items()}


def _described(route: Route) -> dict[str, str]:
    contract = {} if route.promises is None else {"contract": route.promises.version}
    return {"filter": route.filter, "format": route.format, **contract}


def _samples(readings: pd.DataFrame) -> list[dict[str, Any]]:
    newest = readings.tail(SAMPLES)
    columns = [*IDENTITY, "time", "value", "text", "unit", "quality"]
    rows = newest[columns].to_dict("records")
    return [
        {
            **{str(name): value for name, value in row.items()},
            "time": pd.Timestamp(row["time"], unit="us", tz="UTC").to_pydatetime(),
        }
        for row in rows
    ]


def _months(times: np.ndarray) -> list[tuple[int, int]]:
    months = np.unique(times.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)).tolist()
    return [(1970 + month // 12, month % 12 + 1) for month in months]


def _none_where(mask: np.ndarray, column: np.ndarray) -> np.ndarray:
    out = column.copy()
    out[mask] = None
    return out


def _floats(values: list[float]) -> np.ndarray:
    return np.array(values, np.float64)
