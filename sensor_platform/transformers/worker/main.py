"""The process in which formats of your own run: it imports them, decodes with them, and may be killed at any time.

It answers one request after another until its parent is gone. What it prints goes to standard error. Requests are
pickled by the parent, which it trusts; answers are JSON and Arrow, since the parent need not trust what ran here.
"""

import ctypes
import faulthandler
import importlib
import os
import pickle
import resource
import signal
import socket
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from sensor_platform.errors import ConfigurationError
from sensor_platform.routes.model import Route
from sensor_platform.routes.sources import FormatSources
from sensor_platform.transformers import registry
from sensor_platform.transformers.contract import PayloadColumn
from sensor_platform.transformers.definitions import Definition, Definitions
from sensor_platform.transformers.folder import import_folder
from sensor_platform.transformers.guarded import decode_guarded
from sensor_platform.transformers.options import first_problem
from sensor_platform.transformers.per_payload import failure
from sensor_platform.transformers.worker.framing import EXIT_OUT_OF_MEMORY, Frame, Progress, frame, receive
from sensor_platform.transformers.worker.wire import to_bytes

PR_SET_PDEATHSIG = 1
#: What libraries may reserve without using it.
BACKSTOP_BYTES = 2 * 1024**3


def main() -> None:
    """Serves the parent: arguments are its pid, and the file descriptors of the connection and of the progress."""
    parent_pid, connection, progress = map(int, sys.argv[2:5])
    end_with_parent(parent_pid)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    serve(Parent(socket.socket(fileno=connection), Progress(progress)))


def end_with_parent(parent: int) -> None:
    """Killed with its parent, also in the middle of a call. Elsewhere than on Linux: after the call."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it died before we were armed
        raise SystemExit(1)


@dataclass(frozen=True, slots=True)
class Parent:
    """Whom we answer: what it watches, and what it can be asked while it waits."""

    connection: socket.socket
    progress: Progress

    def find(self, keys: Collection[str]) -> Mapping[str, Sequence[Definition]]:
        """What messages outside of the column defined for these keys."""
        self.connection.sendall(frame({"find": sorted(keys)}))
        answer = receive(self.connection)
        if answer is None:
            raise SystemExit(1)  # it is gone
        found: dict[str, Sequence[Definition]] = pickle.loads(answer[1])  # noqa: S301  # our own parent's
        return found


def serve(parent: Parent) -> None:
    """Frames until the parent closes the connection."""
    connection = parent.connection
    connection.sendall(frame({"ready": True, "number": 0}))
    while (request := receive(connection)) is not None:
        header, body = request
        try:
            answer, data = ANSWERS[header["ask"]](pickle.loads(body), parent)  # noqa: S301  # our own parent's
        except MemoryError:
            os._exit(EXIT_OUT_OF_MEMORY)
        connection.sendall(frame({**answer, "number": header["number"]}, data))


def load(sources: FormatSources, parent: Parent) -> Frame:
    """Imports what registers formats."""
    limit_memory(sources.memory_bytes)
    sys.path += [str(folder) for folder in sources.beside if str(folder) not in sys.path]
    for place, module in enumerate(sources.modules):
        parent.progress.began(place, 1)
        try:
            importlib.import_module(module)
        except MemoryError:
            raise
        except (Exception, SystemExit) as err:  # noqa: BLE001  # a module of the user may raise anything
            return {"module": module, "error": f"{type(err).__name__}: {err}"}, b""
    parent.progress.began(0, 0)
    try:
        if sources.folder is not None:
            import_folder(sources.folder)
    except ConfigurationError as err:
        return {"error": str(err)}, b""
    return {"formats": sorted(set(registry.known_here()) - registry.BUILT_IN.keys())}, b""


def describe(name: str, parent: Parent) -> Frame:
    """The version of a format, and whether it looks at its options; or why it cannot be had."""
    try:
        registered = registry.get(name)
    except KeyError:
        return {"error": "no decorated function of this name is in it"}, b""
    except (Exception, SystemExit) as err:  # noqa: BLE001  # an entry point's module may raise anything
        return {"error": f"it cannot be imported: {failure(err)}"}, b""
    return {"version": registered.version, "checks_options": registered.options is not None}, b""


def check_options(asked: tuple[str, dict[str, Any]], parent: Parent) -> Frame:
    """What is wrong with the options of a route of this format: the first problem, or none."""
    name, options = asked
    model = registry.get(name).options
    found = first_problem(model, options) if model is not None else None
    if model is None or found is None:
        return {}, b""
    problem = {"type": found["type"], "loc": list(found["loc"]), "msg": found["msg"]}
    return {"problem": problem, "known": list(model.model_fields)}, b""


def decode(asked: tuple[bytes, PayloadColumn], parent: Parent) -> Frame:
    """What a payload column became."""
    definition, column = asked
    column = replace(column, definitions=Definitions(parent.find))
    route = _route(definition)
    decoded = decode_guarded(column, route, registry.get(route.format), began=parent.progress.began)
    parent.progress.began(0, 0)
    return to_bytes(decoded)


@lru_cache(maxsize=64)
def _route(definition: bytes) -> Route:
    """The same object for the same route: it keeps its parsed options."""
    return Route(**pickle.loads(definition))  # noqa: S301  # our own parent's


def limit_memory(memory_bytes: int) -> None:
    """A backstop far above the limit: it holds while the parent, which watches what is in use, is not awake to do so.

    Not the limit itself: libraries reserve memory that they never use, the allocator of Arrow a GiB at once.
    """
    status = Path("/proc/self/status")
    if status.exists():
        data_kib = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmData"))
        limit = int(data_kib) * 1024 + 2 * memory_bytes + BACKSTOP_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


ANSWERS: dict[str, Callable[[Any, Parent], Frame]] = {
    "load": load,
    "describe": describe,
    "check_options": check_options,
    "decode": decode,
}
