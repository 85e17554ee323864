"""Births of Sparkplug B: what their metrics are called, for the data that comes later under aliases.

Keys of definitions: "group/node" and "group/node/device" for births (behind the levels that a bridge has put before
them), and beside them what is no longer than a session: "#session" (the node's bdSeq when it was said), "#devices"
(every device that the node ever had).
"""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensor_platform.transformers.definitions import Content
from sensor_platform.transformers.remembered import Remembered, size_of

#: Of compiled births that this process remembers, with their contents.
REMEMBERED_BYTES = 128 * 1024 * 1024

SESSION, DEVICES = "#session", "#devices"


@dataclass(frozen=True, slots=True)
class Birth:
    """A birth in columns, sorted by alias; metrics without an alias are found by name only."""

    alias: np.ndarray  # int64, of those that have one
    place: np.ndarray  # of each alias
    name: np.ndarray  # object
    datatype: np.ndarray  # int64
    unit: np.ndarray  # object
    by_name: dict[str, int]

    @property
    def size_bytes(self) -> int:
        """In memory, without the texts, which are those of the content."""
        columns = (self.alias, self.place, self.name, self.datatype, self.unit)
        return sum(column.nbytes for column in columns) + sys.getsizeof(self.by_name)


def content_of(metrics: list[tuple[str, int | None, int, str | None]]) -> Content:
    """Name, alias, datatype and unit of each metric, as it is kept."""
    return {"metrics": [list(metric) for metric in metrics]}


def compiled(content: Content) -> Birth:
    """The birth that `content` holds; asked for again, the same one."""
    known = remembered.get(id(content))
    if known is not None:
        return known[1]
    birth = _compile(content)
    # The content is kept too, so that nobody else gets its id.
    remembered.put(id(content), (content, birth), size_of(content) + birth.size_bytes)
    return birth


remembered: Remembered[int, tuple[Content, Birth]] = Remembered(REMEMBERED_BYTES)


def _compile(content: Content) -> Birth:
    metrics: list[list[Any]] = content["metrics"]
    # Of two metrics with one alias the last holds.
    aliases = {metric[1]: place for place, metric in enumerate(metrics) if metric[1] is not None}
    alias = np.array(sorted(aliases), dtype=np.int64)
    return Birth(
        alias=alias,
        place=np.array([aliases[each] for each in alias.tolist()], dtype=np.int64),
        name=_objects([metric[0] for metric in metrics]),
        datatype=np.array([metric[2] for metric in metrics], dtype=np.int64),
        unit=_objects([metric[3] for metric in metrics]),
        by_name={metric[0]: place for place, metric in enumerate(metrics)},
    )


def _objects(entries: list[Any]) -> np.ndarray:
    column = np.empty(len(entries), dtype=object)
    column[:] = entries
    return column
