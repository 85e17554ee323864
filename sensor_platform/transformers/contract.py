"""The one contract of every format: a column of payloads and a route in, readings and refusals out.

Column-wise, because a Python call a message is what makes decoders slow. A transformer never raises for bad input: it
says which message (and which reading of it) is refused, and why.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sensor_platform.errors import DEAD_LETTER_CODES, Stage
from sensor_platform.transformers.definitions import Definition, Definitions

if TYPE_CHECKING:
    from sensor_platform.routes.model import Route

#: `ordinal` of a refusal that concerns the whole message.
WHOLE_MESSAGE = -1
#: `ordinal` of a refusal for the first metric of a route's contract, where the message lacks it; the next is one less.
#: None of them is a reading's: they count among no readings, refused ones neither.
FIRST_MISSING = -2


class Quality(IntEnum):
    """OPC UA's three severities; the number is what the tables hold."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2


#: Columns of `Decoded.readings`, in order. `message` is the place in the payload column; `ordinal` the reading's place
#: in its message; `time` int64 microseconds since 1970 UTC; `value` float64; `text` and `unit` str or None; `quality`
#: int8. `value` is NaN where the reading has text only; a NaN that is a value has no text;
#: an empty text beside a number is none.
READING_COLUMNS = (
    "message",
    "ordinal",
    "work_unit",
    "sensor",
    "metric",
    "time",
    "timed_by_receipt",
    "value",
    "text",
    "unit",
    "quality",
)


@dataclass(frozen=True, slots=True)
class PayloadColumn:
    """The messages of one route in one group. All sequences have the same length."""

    payloads: Sequence[bytes]
    received_at: np.ndarray  # int64, microseconds since 1970 UTC
    topics: Sequence[str]
    captures: Sequence[dict[str, str]]  # named captures of the route's filter, one dict a message (shared between them)
    definitions: Definitions = field(default_factory=Definitions)  # what other messages said of these

    def __len__(self) -> int:
        return len(self.payloads)

    def take(self, places: np.ndarray) -> "PayloadColumn":
        """The messages at these places."""
        chosen = places.tolist()
        return PayloadColumn(
            payloads=[self.payloads[place] for place in chosen],
            received_at=self.received_at[places],
            topics=[self.topics[place] for place in chosen],
            captures=[self.captures[place] for place in chosen],
            definitions=self.definitions.taken(places),
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """One message, or one reading of it, that cannot go on. `code` is a key of DEAD_LETTER_CODES."""

    message: int
    ordinal: int
    code: str
    detail: str

    @property
    def stage(self) -> Stage:
        return DEAD_LETTER_CODES[self.code][0]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a payload column became. A message in no part of it yields nothing and is refused as `no_readings`.

    definitions: what messages say of later ones; a message that does only that is counted as ignored.
    ignored: messages that have nothing to say by a rule of the format: commands, a keep-alive. None has a reading.
    """

    readings: pd.DataFrame
    refusals: list[Refusal] = field(default_factory=list)
    definitions: list[Definition] = field(default_factory=list)
    ignored: list[int] = field(default_factory=list)

    def moved(self, places: np.ndarray) -> "Decoded":
        """The same, of messages that stand at `places` of a larger column."""
        readings = self.readings.assign(message=places[self.readings["message"].to_numpy(np.int64)])
        refusals = [replace(refusal, message=int(places[refusal.message])) for refusal in self.refusals]
        definitions = [replace(each, message=int(places[each.message])) for each in self.definitions]
        return Decoded(readings, refusals, definitions, [int(places[message]) for message in self.ignored])


Transformer = Callable[[PayloadColumn, "Route"], Decoded]
