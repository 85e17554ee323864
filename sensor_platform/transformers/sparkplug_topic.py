"""Topics of Sparkplug B: `spBv1.0/group/type/node[/device]`, also where a bridge has put levels before it."""

from dataclasses import dataclass, replace
from enum import Enum

NAMESPACE = "spBv1.0"
#: What definitions and rebirth requests are found by: more than an index takes is nobody's name.
MAX_TOPIC_BYTES = 1900


class Type(Enum):
    """What a topic carries, as far as reading it goes."""

    BIRTH = "birth"
    DATA = "data"
    DEATH = "death"
    OTHER = "other"  # commands to nodes, the state of a host: nothing that a sensor says
    UNKNOWN = "unknown"


_TYPES = {
    "NBIRTH": (Type.BIRTH, 4),
    "NDATA": (Type.DATA, 4),
    "NDEATH": (Type.DEATH, 4),
    "DBIRTH": (Type.BIRTH, 5),
    "DDATA": (Type.DATA, 5),
    "DDEATH": (Type.DEATH, 5),
    "NCMD": (Type.OTHER, 4),
    "DCMD": (Type.OTHER, 5),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Who speaks in a topic."""

    topic: str
    type: Type
    group: str = ""
    node: str = ""
    device: str | None = None

    @property
    def node_key(self) -> str:
        """`group/node`; where a bridge has put levels before the namespace, `site/spBv1.0/group/node`.

        Two sites may have groups and nodes of the same names.
        """
        before = _before(self.topic)
        return "/".join([*before, NAMESPACE, self.group, self.node] if before else [self.group, self.node])

    @property
    def key(self) -> str:
        """Of definitions. No level of a topic holds a slash, so no two places share one."""
        return self.node_key if self.device is None else f"{self.node_key}/{self.device}"

    @property
    def keys(self) -> list[str]:
        """All definitions that can matter to a message of this topic."""
        if self.type in (Type.OTHER, Type.UNKNOWN):
            return []
        node = self.node_key
        return sorted({self.key, f"{self.key}#session", node, f"{node}#session", f"{node}#devices"})

    def of_device(self, device: str) -> "Place":
        return replace(self, device=device)


def place_of(topic: str) -> Place:
    """Type UNKNOWN where it is no topic of Sparkplug B."""
    levels = topic.split("/")
    if NAMESPACE not in levels or len(topic.encode()) > MAX_TOPIC_BYTES:
        return Place(topic, Type.UNKNOWN)
    levels = levels[levels.index(NAMESPACE) :]
    if len(levels) > 1 and levels[1] == "STATE":
        return Place(topic, Type.OTHER)
    type_, count = _TYPES.get(levels[2] if len(levels) > 2 else "", (Type.UNKNOWN, 0))
    if type_ is Type.UNKNOWN or len(levels) != count or not all(levels):
        return Place(topic, Type.UNKNOWN)
    return Place(topic, type_, levels[1], levels[3], levels[4] if count == 5 else None)


def command_topic(place: Place) -> str:
    """Where the node of `place` listens for commands."""
    return "/".join([*_before(place.topic), NAMESPACE, place.group, "NCMD", place.node])


def _before(topic: str) -> list[str]:
    """The levels before the namespace."""
    levels = topic.split("/")
    return levels[: levels.index(NAMESPACE)] if NAMESPACE in levels else []
