"""What a group of messages became, before it is loaded: readings with their series, refusals, and who is neither.

The messages of an outcome stand in received order, so a place among them is a place in time.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from sensor_platform.database.copy import ReadingRows
from sensor_platform.transformers.contract import Refusal
from sensor_platform.transformers.definitions import Definition


@dataclass(frozen=True, slots=True)
class Source:
    """A micro-batch that messages come from. Received order is first_received_at, then name."""

    name: str
    hour: datetime
    first_received_at: datetime
    last_received_at: datetime


#: Of a message in received order: its micro-batch's first_received_at and name, its sequence.
Place = tuple[datetime, str, int]


@dataclass(frozen=True, slots=True)
class DecodedWith:
    """The definitions that a group of messages was decoded with: those in force at its first message, and all up to its
    last one, its own among them.

    as_of: `definition_changes` before they were asked for; None: what is loaded is not all that was decoded, so that
    they may be others though nobody changed any.
    """

    first: Place
    last: Place
    definitions: dict[str, dict[str, dict[Place, bytes]]]  # format -> key -> where it was said -> digest of the content
    as_of: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Messages of `sources` and what became of them. Places in `message` and refusals are rows of `messages`."""

    sources: list[Source]
    messages: pa.Table  # staging SCHEMA
    source_of: np.ndarray  # per message: place in `sources`
    redelivered: np.ndarray  # bool per message
    ignored: np.ndarray  # bool per message
    thinned: np.ndarray  # per message: how many of its readings were thinned
    message: np.ndarray  # per reading: its message
    readings: ReadingRows  # micro_batch is not known yet: 0
    refusals: list[Refusal]
    routes: dict[str, dict[str, str]] = field(default_factory=dict)
    transformers: dict[str, str] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    definitions: dict[str, list[Definition]] = field(default_factory=dict)  # by format
    decoded_with: DecodedWith | None = None  # None: it takes no definitions
    load_outdated: bool = False  # also where other definitions are in force by now: then the ledger says so
    units_as_of: int = 0  # `unit_changes` when the units of its series were read
    registry_as_of: int = 0  # `registry_version` at the same time

    def place(self, message: int) -> Place:
        """Where it stands in received order."""
        source = self.sources[int(self.source_of[message])]
        return source.first_received_at, source.name, self.messages["sequence"][message].as_py()

    def without(self, sources: set[str]) -> "Outcome":
        """The same without the micro-batches of these names."""
        if not sources:
            return self
        kept = [place for place, source in enumerate(self.sources) if source.name not in sources]
        renumbered = {place: new for new, place in enumerate(kept)}
        rows = np.isin(self.source_of, kept)
        source_of = np.array([renumbered[place] for place in self.source_of[rows].tolist()], np.int64)
        picked = self.pick(rows)
        return replace(picked, sources=[self.sources[place] for place in kept], source_of=source_of)

    def pick(self, rows: np.ndarray) -> "Outcome":
        """The same with only the messages where `rows` is true."""
        if rows.all():
            return self
        place = np.cumsum(rows) - 1
        kept = rows[self.message]
        return replace(
            self,
            messages=self.messages.filter(pa.array(rows)),
            source_of=self.source_of[rows],
            redelivered=self.redelivered[rows],
            ignored=self.ignored[rows],
            thinned=self.thinned[rows],
            message=place[self.message[kept]],
            readings=self.readings.take(kept),
            refusals=[
                Refusal(int(place[r.message]), r.ordinal, r.code, r.detail) for r in self.refusals if rows[r.message]
            ],
            definitions={
                format_: [replace(one, message=int(place[one.message])) for one in found if rows[one.message]]
                for format_, found in self.definitions.items()
            },
            decoded_with=self.decoded_with and replace(self.decoded_with, as_of=None),
        )

    def refuse(self, readings: np.ndarray, refusals: list[Refusal]) -> "Outcome":
        """The same with the readings at these places taken out, and `refusals` in their stead."""
        kept = np.ones(len(self.message), dtype=bool)
        kept[readings] = False
        return replace(
            self,
            message=self.message[kept],
            readings=self.readings.take(kept),
            refusals=[*self.refusals, *refusals],
        )
