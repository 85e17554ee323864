"""Formats of your own, decoded in the worker process: what it is killed for costs the guilty messages only.

A function that only this process has (of its main script, or registered by a call) is called here, without limits: no
other process could import it. What the platform itself runs comes from modules, packages and files.
"""

import pickle
import time
from dataclasses import dataclass, replace

import numpy as np

from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.model import Route
from sensor_platform.routes.sources import FormatSources
from sensor_platform.transformers import registry
from sensor_platform.transformers.contract import WHOLE_MESSAGE, Decoded, PayloadColumn, Refusal
from sensor_platform.transformers.definitions import Definitions
from sensor_platform.transformers.guarded import after, decode_guarded, joined
from sensor_platform.transformers.keeping import no_readings
from sensor_platform.transformers.registry import Registered
from sensor_platform.transformers.worker.exchange import WorkerEndedError
from sensor_platform.transformers.worker.framing import Frame
from sensor_platform.transformers.worker.limits import SHARE_S
from sensor_platform.transformers.worker.owner import call_worker
from sensor_platform.transformers.worker.requests import Worker
from sensor_platform.transformers.worker.wire import from_bytes

#: What goes to the worker at once: what it had decoded when it is killed has to be decoded again.
PIECE_MESSAGES = 10_000
PIECE_BYTES = 64 * 1024 * 1024
#: A group that costs more ends of the worker, or more limits of a call, is given up: its rest becomes dead letters.
MAX_ENDS = 64
MAX_LIMITS = 10
#: Of a call's limit, for one that only looks for the guilty message: too little makes it look closer, no more.
LOOKING = 0.25


def decode_custom(column: PayloadColumn, route: Route) -> Decoded:
    """Readings and refusals of a column whose format did not come along.

    Raises:
        ConfigurationError: the format's code cannot be imported (any more).
        WorkerUnavailableError: the process to decode in cannot be started.
    """
    here = runs_here(route.format)
    if here is not None:
        return decode_guarded(column, route, here)
    if not len(column):
        return Decoded(no_readings())
    version_of(route)
    return _Group(column, route).decoded()


def version_of(route: Route) -> str:
    """The version of the route's format, as the ledger notes it."""
    here = registry.get(route.format) if route.format in registry.BUILT_IN else runs_here(route.format)
    if here is not None:
        return here.version
    found = call_worker(sources_of(route), lambda worker: worker.describe(route.format))
    if found.error is not None:
        raise ConfigurationError(f'route "{route.name}": format "{route.format}": {found.error}')
    return found.version


def runs_here(name: str) -> Registered | None:
    """The format, if no other process could import it."""
    found = registry.registered_here(name)
    return found if found is not None and found.module is None else None


def sources_of(route: Route) -> FormatSources:
    """Where the worker finds the route's format: also in a module that this process has imported by itself."""
    found = registry.registered_here(route.format)
    module = found.module if found is not None else None
    if module is None or module in route.sources.modules:
        return route.sources
    return replace(route.sources, modules=(*route.sources.modules, module))


@dataclass(frozen=True, slots=True)
class _Piece:
    """Places in the column; suspected: one of them made the worker end; again: it ended with them, but at none."""

    places: np.ndarray
    suspected: bool = False
    again: bool = False


class _Group:
    """One column on its way through the worker, as often as it takes."""

    def __init__(self, column: PayloadColumn, route: Route) -> None:
        self._column = column
        self._definition = pickle.dumps(route.definition)
        self._sources = sources_of(route)
        self._limit_s = MAX_LIMITS * (self._sources.timeout_s + SHARE_S * len(column))
        self._spent_s = 0.0
        self._ends = 0
        self._parts: list[Decoded] = []

    def decoded(self) -> Decoded:
        waiting = [_Piece(places) for places in reversed(_pieces(self._column))]
        while waiting:
            piece = waiting.pop()
            if self._spent_s >= self._limit_s or self._ends >= MAX_ENDS:
                self._give_up(piece.places)
                continue
            try:
                self._parts.append(self._ask(piece).moved(piece.places))
            except WorkerEndedError as ended:
                self._ends += 1
                waiting += self._after(ended, piece)
        return joined(self._parts)

    def _ask(self, piece: _Piece) -> Decoded:
        column = after(self._column, self._parts).take(piece.places)
        sent, find = replace(column, definitions=Definitions()), column.definitions.find
        is_looking = piece.suspected and len(column) > 1
        call_limit_s = self._sources.timeout_s * (LOOKING if is_looking else 1)
        limit_s = max(self._limit_s - self._spent_s, call_limit_s)

        def decode(worker: Worker) -> Frame:
            began_s = time.monotonic()
            try:
                return worker.decode(self._definition, sent, find, limit_s=limit_s, call_limit_s=call_limit_s)
            finally:
                self._spent_s += time.monotonic() - began_s

        header, readings = call_worker(self._sources, decode)
        try:
            return from_bytes(header, readings, len(column))
        except (KeyError, TypeError, ValueError) as err:
            raise WorkerEndedError("transformer_crashed", f"the worker process answered wrongly: {err}") from err

    def _after(self, ended: WorkerEndedError, piece: _Piece) -> list[_Piece]:
        """What is still to be decoded, the last first: halves of those among whom the guilty is, between the others.

        In received order, since messages may say something about later ones.
        """
        first, count = ended.suspects or (0, len(piece.places))
        suspects = piece.places[first : first + count]
        if self._spent_s >= self._limit_s or not len(suspects):
            return [piece]  # to be given up, or an answer that makes no sense
        if ended.suspects is None and not piece.again:
            return [replace(piece, again=True)]  # no call had begun: most likely somebody else ended it
        before, behind = piece.places[:first], piece.places[first + count :]
        was_short = piece.suspected and len(piece.places) > 1 and ended.code == "transformer_timeout"
        halves: list[np.ndarray] = []
        if len(suspects) > 1 or was_short:
            halves = np.array_split(suspects, 2)
        else:
            self._refuse(suspects, ended.code, ended.detail)
        left = [_Piece(before, piece.suspected), *(_Piece(half, suspected=True) for half in halves)]
        return [each for each in (_Piece(behind, piece.suspected), *reversed(left)) if len(each.places)]

    def _give_up(self, places: np.ndarray) -> None:
        detail = "not decoded, because other messages of its group took the time that there is for all: retry it"
        self._refuse(places, "transformer_timeout", detail)

    def _refuse(self, places: np.ndarray, code: str, detail: str) -> None:
        refusals = [Refusal(place, WHOLE_MESSAGE, code, detail) for place in places.tolist()]
        self._parts.append(Decoded(no_readings(), refusals))


def _pieces(column: PayloadColumn) -> list[np.ndarray]:
    """Runs of places: so many messages and bytes at most, a message at least."""
    sizes = np.cumsum([len(payload) for payload in column.payloads])
    pieces, start = [], 0
    while start < len(column):
        bytes_before = int(sizes[start - 1]) if start else 0
        end = int(np.searchsorted(sizes, bytes_before + PIECE_BYTES, side="right"))
        end = max(min(end, start + PIECE_MESSAGES), start + 1)
        pieces.append(np.arange(start, end))
        start = end
    return pieces
