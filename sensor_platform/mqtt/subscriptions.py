"""Which filters a collector subscribes to: those of its routes, those added while running, and what it was told before.

They are reduced to a disjoint cover, since a broker delivers a message once per matching subscription.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sensor_platform.errors import StagingUnavailableError
from sensor_platform.log import get_logger
from sensor_platform.routes.filters import TopicFilter, disjoint, parse_filter
from sensor_platform.staging.durable import replace_file

GRANTED_FILE = "subscriptions"
ASKED_FILE = "asked_subscriptions"
ADDED_FILE = "added_subscriptions"
UNANSWERED_FILE = "unanswered_connect"
SHARE = "$share/"
#: Where the database tells of changes.
CHANNEL = "sensor_platform_subscriptions"
#: More would cost each comparison of filters with each other too much.
MOST_ADDED = 1000


def cover(of_routes: Iterable[str], added: Iterable[str]) -> tuple[str, ...]:
    """What to subscribe to: all of both, with no topic in two of them."""
    return tuple(each.subscription for each in disjoint([*_valid(of_routes), *_valid(added)]))


def in_group(filters: Iterable[str], group: str | None) -> tuple[str, ...]:
    """The filters as the broker is told them: shared with the members of `group`, if there is one."""
    return tuple(f"{SHARE}{group}/{each}" if group else each for each in filters)


def without_group(told: str) -> str:
    """The filter of `$share/GROUP/FILTER`."""
    return told.split("/", 2)[2] if told.startswith(SHARE) else told


def _valid(filters: Iterable[str]) -> list[TopicFilter]:
    """A row that somebody wrote by hand must not stop the others."""
    found = []
    for text in filters:
        try:
            found.append(parse_filter(text))
        except ValueError as err:
            get_logger().error("invalid_filter", filter=text, reason=str(err), do="remove it from the subscriptions")
    return found


class AddedSubscriptions:
    """The filters that were added while running, as last read from the database: for a start without it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ADDED_FILE

    def read(self) -> tuple[str, ...]:
        """None where nothing was written; what cannot be read is said in the log, and none, too."""
        try:
            return tuple(str(each) for each in json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, TypeError) as err:
            get_logger().error("added_subscriptions_unreadable", file=str(self._path), error=str(err))
            return ()

    def write(self, filters: Iterable[str]) -> None:
        """A full disk costs the copy, not the subscription."""
        try:
            replace_file(self._path, json.dumps(list(filters), indent=1).encode())
        except OSError as err:
            get_logger().error("added_subscriptions_not_kept", file=str(self._path), error=str(err))


@dataclass(frozen=True, slots=True)
class Told:
    """What the broker's session knows. `asked`: a SUBSCRIBE or UNSUBSCRIBE may have left, and no answer was heard."""

    granted: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()

    @property
    def sure(self) -> frozenset[str]:
        """Granted, and not being left."""
        return self.granted - self.asked


class KeptSubscriptions:
    """What the broker's session was told, in the collector's folder. Another session knows nothing of it.

    Its errors are StagingUnavailableErrors: on a disk that does not take these few bytes nothing can be staged either.
    """

    def __init__(self, folder: Path, *, session: str) -> None:
        self._granted = folder / GRANTED_FILE
        self._asked = folder / ASKED_FILE
        self._unanswered = folder / UNANSWERED_FILE
        self._session = session
        self._is_doubtful = False

    def read(self) -> Told:
        return Told(self._read(self._granted), self._read(self._asked))

    def connecting(self, *, noted: bool) -> None:
        """Before CONNECT. `noted`: a later process must know of it, should no answer come.

        A broker that forgot us makes a new session for a CONNECT, also where its answer is lost; the next CONNACK then
        says that a session is present. So does a broker that came back as it was before a filter was granted: hence the
        note of an attempt that found nobody stays too.
        """
        self._is_doubtful = self._unanswered.exists()
        if noted and not self._is_doubtful:
            with _on_disk(self._unanswered):
                replace_file(self._unanswered, b"")

    def connected(self, *, session_present: bool) -> None:
        """After CONNACK: the session knows what it was told only where no CONNECT since then went unanswered."""
        if not session_present:
            self.forget()
        elif self._is_doubtful:
            told = self.read()
            self.write(Told(asked=told.granted | told.asked))
        with _on_disk(self._unanswered):
            self._unanswered.unlink(missing_ok=True)

    def write(self, told: Told) -> None:
        """No filter is in neither file at any moment."""
        files = [(self._granted, told.granted), (self._asked, told.asked)]
        if told.asked - self._read(self._asked):
            files.reverse()
        for path, filters in files:
            self._write(path, filters)

    def forget(self) -> None:
        """The broker has no session: it must be told all of them, even if we die before it granted them."""
        for path in (self._granted, self._asked):
            with _on_disk(path):
                path.unlink(missing_ok=True)

    def _read(self, path: Path) -> frozenset[str]:
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            return frozenset(kept["filters"]) if kept["session"] == self._session else frozenset()
        except (OSError, ValueError, KeyError, TypeError):
            return frozenset()

    def _write(self, path: Path, filters: frozenset[str]) -> None:
        if self._read(path) != filters:
            text = json.dumps({"session": self._session, "filters": sorted(filters)}, indent=1)
            with _on_disk(path):
                replace_file(path, text.encode())


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise StagingUnavailableError(
            f"{path}: cannot be changed: {err.strerror or err}. Messages stay with the broker; free space or mend the "
            "disk."
        ) from err
