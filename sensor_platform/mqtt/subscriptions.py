"""Which filters to subscribe to and which to leave, given what the broker's session was told before.

On 3.1.1 each SUBSCRIBE brings the retained messages again, so nothing is subscribed to that the session has already; on
MQTT 5 Retain Handling 1 says the same to the broker.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sensor_platform.staging.durable import replace_file

FILE = "subscriptions"


@dataclass(frozen=True, slots=True)
class Changes:
    """What to tell the broker after a CONNACK."""

    subscribe: tuple[str, ...]
    unsubscribe: tuple[str, ...]


def changes(wanted: Iterable[str], kept: Iterable[str], *, all_again: bool) -> Changes:
    """`kept`: what the session was told before. `all_again`: subscribing twice does no harm and mends what is amiss."""
    known = set(kept)
    names = tuple(dict.fromkeys(wanted))
    return Changes(
        subscribe=tuple(name for name in names if all_again or name not in known),
        unsubscribe=tuple(sorted(known - set(names))),
    )


class KeptSubscriptions:
    """The filters that the broker last granted us, in the collector's folder. Another session knows nothing of them."""

    def __init__(self, folder: Path, *, session: str) -> None:
        self._path = folder / FILE
        self._session = session

    def read(self) -> tuple[str, ...]:
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            return tuple(kept["filters"]) if kept["session"] == self._session else ()
        except (OSError, ValueError, KeyError, TypeError):
            return ()

    def write(self, filters: Iterable[str]) -> None:
        """A disk that is full costs another SUBSCRIBE at the next connection, no more."""
        if self.read() == tuple(filters):
            return
        text = json.dumps({"session": self._session, "filters": list(filters)}, indent=1)
        with suppress(OSError):
            replace_file(self._path, text.encode())

    def forget(self) -> None:
        """The broker has no session: it must be told all of them, even if we die before it granted them."""
        self._path.unlink(missing_ok=True)
