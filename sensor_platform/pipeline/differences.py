"""What a micro-batch made again changes: its messages before and after, compared column by column. Numpy and pandas.

Of readings it asks what a message says, not whether an equal one stands before it: so what is told of one group of
micro-batches does not depend on the others, and sums up, in whatever order they are loaded.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sensor_platform.database.copy import ReadingRows
from sensor_platform.pipeline.catalogue import Catalogue
from sensor_platform.pipeline.changes import SAMPLES, Differences, RouteChanges, Samples
from sensor_platform.pipeline.committed import Committed
from sensor_platform.pipeline.equals import value_bits
from sensor_platform.pipeline.outcome import Outcome
from sensor_platform.pipeline.readings import route_of_topic
from sensor_platform.pipeline.series import Key, UnitChange
from sensor_platform.routes.model import Routes
from sensor_platform.transformers.contract import Quality

IDENTITY = ("work_unit", "sensor", "metric")
NO_ROUTE = "(no route)"
#: The class of a message before and after; `pending`: its micro-batch was not loaded.
CLASSES = ("pending", "accepted", "partial", "dead_lettered", "duplicate", "ignored")
PENDING, ACCEPTED, PARTIAL, DEAD_LETTERED, DUPLICATE, IGNORED = range(len(CLASSES))
READING_KINDS = ("added", "removed", "changed")
LETTER_KINDS = ("newly_accepted", "newly_refused", "refused_otherwise")

#: Series ids -> names and units.
Names = Callable[[Collection[int]], Mapping[int, tuple[Key, str | None]]]


def differences(before: Committed, outcome: Outcome, routes: Routes, *, names: Names) -> Differences:
    """What stands of the micro-batches of `outcome`, and what it makes of them. `names`: of the series of samples."""
    compared = _Compared(before, outcome, routes)
    changed = compared.readings()
    letters = compared.letters()
    classes = compared.classes()
    touched = {
        int(message) for part in (changed["message"], letters["message"], classes["message"]) for message in part
    }
    route_of = compared.routes_of(touched)
    parts: dict[str, RouteChanges] = {}
    for name in sorted(set(route_of.values())):
        own = {message for message, route in route_of.items() if route == name}
        parts[name] = _of_route(
            *(frame[frame["message"].isin(own)] for frame in (changed, letters, classes)),
            compared=compared,
            names=names,
        )
    return Differences(
        micro_batches=len(outcome.sources),
        not_loaded_before=sum(source.name not in before.ids for source in outcome.sources),
        messages=outcome.messages.num_rows,
        thinned_before=before.thinned,
        thinned=int(outcome.thinned.sum()),
        routes=parts,
    )


def _of_route(
    readings: pd.DataFrame, letters: pd.DataFrame, classes: pd.DataFrame, *, compared: "_Compared", names: Names
) -> RouteChanges:
    counts = Counter(readings["kind"])
    codes = {kind: dict(Counter(letters["what"][letters["kind"] == kind])) for kind in LETTER_KINDS}
    return RouteChanges(
        added=counts["added"],
        removed=counts["removed"],
        changed=counts["changed"],
        newly_accepted=codes["newly_accepted"],
        newly_refused=codes["newly_refused"],
        refused_otherwise=codes["refused_otherwise"],
        classes=dict(Counter(classes["what"])),
        samples=compared.samples(readings, letters, classes, names),
    )


def described_changes(catalogue: Catalogue) -> list[dict[str, Any]]:
    """The units that were changed, for people. `unnamed`: not of the series, but of readings that name none."""
    return [_described(change) for change in catalogue.changes]


def _described(change: UnitChange) -> dict[str, Any]:
    series, to = change.series, change.to
    unnamed = series.unit == to.unit
    before, after = (series.unnamed_unit, to.unnamed_unit) if unnamed else (series.unit, to.unit)
    names = dict(zip(IDENTITY, change.key, strict=True))
    return {**names, "unit_before": before, "unit": after, "unnamed": unnamed, "by": change.by}


class _Compared:
    """The two sides, with messages numbered as those of the outcome."""

    def __init__(self, before: Committed, outcome: Outcome, routes: Routes) -> None:
        self._before, self._outcome, self._routes = before, outcome, routes
        self._sequence = outcome.messages["sequence"].to_numpy()
        self._starts = np.searchsorted(outcome.source_of, np.arange(len(outcome.sources) + 1))
        # What retention no longer keeps is in neither: it is neither brought back nor taken out.
        rows = before.readings.take(before.readings.time >= before.kept_from)
        kept = outcome.readings.time >= before.kept_from
        self._new, self._new_message = outcome.readings.take(kept), outcome.message[kept]
        self._expired_message = outcome.message[~kept]
        order = np.lexsort((rows.ordinal, rows.sequence, rows.micro_batch))
        self._old = rows.take(order)
        self._old_message = self._messages(self._old.micro_batch, self._old.sequence)
        self._letters = {
            (int(message), ordinal): code
            for message, ((_, _, ordinal), code) in zip(
                self._messages(*self._letter_places()).tolist(), before.letters.items(), strict=True
            )
        }
        self._refused = {(refusal.message, refusal.ordinal): refusal.code for refusal in outcome.refusals}

    def _letter_places(self) -> tuple[np.ndarray, np.ndarray]:
        places = np.array([place[:2] for place in self._before.letters], np.int64).reshape(-1, 2)
        return places[:, 0], places[:, 1]

    def _messages(self, micro_batch: np.ndarray, sequence: np.ndarray) -> np.ndarray:
        """The place among the outcome's messages of each ledger id and sequence."""
        found = np.full(len(sequence), -1, np.int64)
        for place, source in enumerate(self._outcome.sources):
            own = micro_batch == self._before.ids.get(source.name, -1)
            first, end = self._starts[place], self._starts[place + 1]
            found[own] = first + np.searchsorted(self._sequence[first:end], sequence[own])
        return found

    def readings(self) -> pd.DataFrame:
        """Rows `message, kind, old, new`: places among the readings of both sides, -1 for none."""
        new, new_message = self._new, self._new_message
        stays_old, stays_new = _unchanged(self._old, self._old_message, new, new_message)
        old_places, new_places = np.flatnonzero(~stays_old), np.flatnonzero(~stays_new)
        sides = [(self._old.take(old_places), self._old_message[old_places], old_places, 0)]
        sides += [(new.take(new_places), new_message[new_places], new_places, 1)]
        frame = _frame(sides)
        frame = _unpaired(frame, [*_CONTENT], keep_pairs=False)
        return _kinds(frame)

    def letters(self) -> pd.DataFrame:
        """Rows `message, kind, what, ordinal`."""
        rows: list[tuple[int, str, str, int]] = []
        for (message, ordinal), code in self._letters.items():
            now = self._refused.get((message, ordinal))
            if now is None:
                rows.append((message, "newly_accepted", code, ordinal))
            elif now != code:
                rows.append((message, "refused_otherwise", f"{code} -> {now}", ordinal))
        for (message, ordinal), code in self._refused.items():
            if (message, ordinal) not in self._letters:
                rows.append((message, "newly_refused", code, ordinal))
        return pd.DataFrame(rows, columns=["message", "kind", "what", "ordinal"]).sort_values(["message", "ordinal"])

    def classes(self) -> pd.DataFrame:
        """Rows `message, what`: messages that change class."""
        outcome, n = self._outcome, self._outcome.messages.num_rows
        refused = [message for message, _ in self._letters]
        # Of what expired nothing stands that would tell: it was taken, unless it was refused.
        taken = self._expired_message[~np.isin(self._expired_message, refused)]
        was = self._class(np.concatenate([self._old_message, taken]), refused, np.zeros(n, dtype=bool))
        for place, source in enumerate(outcome.sources):
            if source.name not in self._before.ids:
                was[self._starts[place] : self._starts[place + 1]] = PENDING
        now = self._class(outcome.message, [refusal.message for refusal in outcome.refusals], outcome.ignored)
        places = np.flatnonzero(was != now)
        what = [f"{CLASSES[a]} -> {CLASSES[b]}" for a, b in zip(was[places], now[places], strict=True)]
        return pd.DataFrame({"message": places, "what": pd.Series(what, dtype=object)})

    def _class(self, taken: np.ndarray, refused: Collection[int], ignored: np.ndarray) -> np.ndarray:
        n = self._outcome.messages.num_rows
        has_reading = np.bincount(taken, minlength=n) > 0
        has_letter = np.bincount(np.array([*refused], np.int64), minlength=n) > 0
        conditions = [self._outcome.redelivered, ignored, has_letter & has_reading, has_letter, has_reading]
        return np.select(conditions, [DUPLICATE, IGNORED, PARTIAL, DEAD_LETTERED, ACCEPTED], default=IGNORED)

    def routes_of(self, messages: Collection[int]) -> dict[int, str]:
        """The route of each: today's, or where none matches any more, the one that made it."""
        places = sorted(messages)
        topics = self._outcome.messages["topic"].take(pa.array(places, pa.int64())).to_pylist()
        of_topic = {topic: self._route_of(topic) for topic in set(topics)}
        return {place: of_topic[topic] for place, topic in zip(places, topics, strict=True)}

    def _route_of(self, topic: bytes) -> str:
        try:
            found = self._routes.match(topic.decode())
        except UnicodeDecodeError:
            return NO_ROUTE
        return (route_of_topic(topic, self._before.routes) if found is None else found[0].name) or NO_ROUTE

    def samples(self, readings: pd.DataFrame, letters: pd.DataFrame, classes: pd.DataFrame, names: Names) -> Samples:
        found: Samples = {}
        kept = [readings[readings["kind"] == kind].head(SAMPLES) for kind in READING_KINDS]
        rows = [row for part in kept for row in part.to_dict("records")]
        series = {int(self._series(row)) for row in rows}
        named = names(series) if series else {}
        for row in rows:
            found.setdefault(row["kind"], []).append(self._sample(row, *named[int(self._series(row))]))
        for kind in LETTER_KINDS:
            for row in letters[letters["kind"] == kind].head(SAMPLES).to_dict("records"):
                found.setdefault(kind, []).append({**self._place(row["message"]), "code": row["what"]})
        for row in classes.head(SAMPLES).to_dict("records"):
            found.setdefault("classes", []).append({**self._place(row["message"]), "class": row["what"]})
        return found

    def _series(self, row: Mapping[Any, Any]) -> Any:
        return self._new.series[row["new"]] if row["new"] >= 0 else self._old.series[row["old"]]

    def _sample(self, row: Mapping[Any, Any], key: Key, unit: str | None) -> dict[str, Any]:
        new, old = self._new, self._old
        one, place = (new, row["new"]) if row["new"] >= 0 else (old, row["old"])
        return {
            **dict(zip(IDENTITY, key, strict=True)),
            "time": datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(one.time[place])),
            "before": None if row["old"] < 0 else _said(old, row["old"]),
            "after": None if row["new"] < 0 else _said(new, row["new"]),
            "unit": unit,
            **self._place(row["message"]),
        }

    def _place(self, message: int) -> dict[str, Any]:
        source = self._outcome.sources[int(self._outcome.source_of[message])]
        topic = self._outcome.messages["topic"][message].as_py().decode("utf-8", "backslashreplace")
        return {"message": f"{source.name}:{int(self._sequence[message])}", "topic": topic}


def _unchanged(
    old: ReadingRows, old_message: np.ndarray, new: ReadingRows, new_message: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which of both sides are at the same place of the same message and say the same: nearly all, as a rule."""
    width = 1 + max(int(old.ordinal.max(initial=0)), int(new.ordinal.max(initial=0)))
    _, in_old, in_new = np.intersect1d(
        old_message * width + old.ordinal, new_message * width + new.ordinal, assume_unique=True, return_indices=True
    )
    a, b = old.take(in_old), new.take(in_new)
    same = (a.series == b.series) & (a.time == b.time) & (a.quality == b.quality) & (a.has_value == b.has_value)
    same &= (value_bits(a.value) == value_bits(b.value)) & (a.text == b.text)
    stays_old, stays_new = np.zeros(len(old), dtype=bool), np.zeros(len(new), dtype=bool)
    stays_old[in_old[same]] = True
    stays_new[in_new[same]] = True
    return stays_old, stays_new


def _frame(sides: list[tuple[ReadingRows, np.ndarray, np.ndarray, int]]) -> pd.DataFrame:
    """Both sides, one after the other. In each the readings of a message stand in their order."""
    parts = [
        pd.DataFrame(
            {
                "side": side,
                "place": places,
                "message": message,
                "series": rows.series,
                "time": rows.time,
                "value": value_bits(rows.value),
                "null": ~rows.has_value,
                "quality": rows.quality,
            }
        )
        for rows, message, places, side in sides
    ]
    texts = np.concatenate([rows.text for rows, *_ in sides])
    return pd.concat(parts, ignore_index=True).assign(text=pd.factorize(texts)[0])


def _unpaired(frame: pd.DataFrame, columns: list[str], *, keep_pairs: bool) -> pd.DataFrame:
    """Gives each row its number among those of its side that are equal in `columns`; without `keep_pairs`, without the
    rows that the other side has, too."""
    numbered = frame.assign(number=frame.groupby(["side", *columns], sort=False).cumcount())
    paired = numbered.duplicated([*columns, "number"], keep=False)
    return numbered.assign(paired=paired) if keep_pairs else numbered[~paired]


def _kinds(frame: pd.DataFrame) -> pd.DataFrame:
    """Of one message, series and time: what both sides have differs in value; what one side has came or went."""
    frame = _unpaired(frame, ["message", "series", "time"], keep_pairs=True)
    ordered = frame.sort_values(["message", "series", "time", "number", "side"], kind="stable")
    pairs, single = ordered[ordered["paired"]], ordered[~ordered["paired"]]
    old, new = pairs[pairs["side"] == 0], pairs[pairs["side"] == 1]
    changed = {"message": old["message"].to_numpy(), "old": old["place"].to_numpy(), "new": new["place"].to_numpy()}
    came = (single["side"] == 1).to_numpy()
    place = single["place"].to_numpy()
    alone = {
        "message": single["message"].to_numpy(),
        "old": np.where(came, -1, place),
        "new": np.where(came, place, -1),
    }
    kinds = np.where(came, "added", "removed")
    parts = [pd.DataFrame({**changed, "kind": "changed"}), pd.DataFrame({**alone, "kind": kinds.astype(object)})]
    return pd.concat(parts, ignore_index=True).sort_values("message", kind="stable", ignore_index=True)


def _said(rows: ReadingRows, place: int) -> dict[str, Any]:
    text = rows.text[place]
    value = float(rows.value[place]) if rows.has_value[place] else None
    return {"value": value, "text": text, "quality": Quality(int(rows.quality[place])).name.lower()}


_CONTENT = ("message", "series", "time", "value", "null", "text", "quality")
