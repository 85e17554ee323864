"""A TCP link between a client and a broker that can be hurt as networks are: cut, hung, half dead, slow, gone.

Nothing is reordered, and within a connection nothing is lost unless the connection ends: TCP does not do that either.
A direction that hangs passes neither bytes nor the end of the connection; when it flows again, what waited comes late.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

T = TypeVar("T")
HOST = "127.0.0.1"
CHUNK = 65536
#: Chunks on their way in one direction, where the link is slow.
ON_THE_WAY = 1000


class Direction(Enum):
    TO_BROKER = "to broker"
    TO_CLIENT = "to client"


class Observer(Protocol):
    """Told what passes; see `tap`."""

    def opened(self) -> Callable[[Direction, bytes], None]: ...


class _Nobody:
    def opened(self) -> Callable[[Direction, bytes], None]:
        return lambda _direction, _data: None


@dataclass(slots=True)
class _Connection:
    """One connection through the link, and what a fault of the moment does to it."""

    client: asyncio.StreamWriter
    broker: asyncio.StreamWriter
    seen: Callable[[Direction, bytes], None]
    flows: dict[Direction, asyncio.Event] = field(default_factory=lambda: {each: asyncio.Event() for each in Direction})

    def abort(self) -> None:
        self.client.transport.abort()
        self.broker.transport.abort()


class Proxy:
    """`with Proxy(port) as link: link.cut()`. One thread; its methods may be called from any other."""

    def __init__(self, target_port: int, *, observer: Observer | None = None) -> None:
        self.port = 0
        self.accepted = 0
        self.delay_s = 0.0  # each way
        self._target_port = target_port
        self._observer = observer or _Nobody()
        self._connections: list[_Connection] = []
        self._hung: set[Direction] = set()  # for new connections
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @property
    def url(self) -> str:
        return f"mqtt://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._do(self._end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def start(self) -> None:
        """Listens; on the same port as before."""
        self._do(self._listen())

    def stop(self) -> None:
        """Connections are cut, and new ones refused."""
        self._do(self._close())

    def cut(self) -> None:
        """Ends every connection, on both sides; what was on its way is gone. New ones are taken."""
        self._do(self._cut())

    def half_open(self, *directions: Direction) -> None:
        """In these directions nothing passes any more on the connections that there are; new ones are whole."""
        self._do(self._hang(directions))

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Nothing passes on any connection, new ones included, and nobody is told. In the end all comes late."""
        self._hung = set(Direction)
        self._do(self._hang(Direction))
        try:
            yield
        finally:
            self._hung = set()
            self._do(self._release())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _cut(self) -> None:
        for connection in self._connections:
            connection.abort()

    async def _hang(self, directions: Iterable[Direction]) -> None:
        for connection in self._connections:
            for direction in directions:
                connection.flows[direction].clear()

    async def _release(self) -> None:
        for connection in self._connections:
            for flows in connection.flows.values():
                flows.set()

    async def _end_tasks(self) -> None:
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted closes in the next turn of the loop

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            broker_reader, broker_writer = await asyncio.open_connection(HOST, self._target_port)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(writer, broker_writer, self._observer.opened())
        for direction in set(Direction) - self._hung:
            connection.flows[direction].set()
        self._connections.append(connection)
        try:
            await asyncio.gather(
                self._pump(connection, Direction.TO_BROKER, reader, broker_writer),
                self._pump(connection, Direction.TO_CLIENT, broker_reader, writer),
            )
        finally:
            self._connections.remove(connection)
            connection.abort()

    async def _pump(
        self, connection: _Connection, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Passes on what comes, each chunk `delay_s` after it came, and then the end."""
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(ON_THE_WAY)
        delivery = asyncio.create_task(self._deliver(connection, direction, on_the_way, writer))
        data = b"not yet the end"
        while data:
            data = b""
            with suppress(OSError):
                data = await reader.read(CHUNK)
            await on_the_way.put((self._loop.time() + self.delay_s, data))
        await delivery

    async def _deliver(
        self,
        connection: _Connection,
        direction: Direction,
        on_the_way: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
    ) -> None:
        is_over = False
        while not is_over:
            due_s, data = await on_the_way.get()
            await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            await connection.flows[direction].wait()
            is_over = not data or writer.is_closing()
            if not is_over:
                connection.seen(direction, data)
                writer.write(data)
                with suppress(OSError):
                    await writer.drain()
        writer.close()
