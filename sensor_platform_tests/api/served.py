"""The API as it is served: uvicorn on a free port, in a thread of this process so that tests see its parts."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import pytest
import uvicorn
from websockets.sync.client import ClientConnection, connect

from sensor_platform.api.app import create_app
from sensor_platform.api.context import Context
from sensor_platform.settings import Settings

T = TypeVar("T")
TOKEN = "a token of the tests"


def until(condition: Callable[[], T | None], *, what: str, timeout_s: float = 20) -> T:
    """The first true answer."""
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s} s for: {what}; last answer {answer!r}")
        threading.Event().wait(0.05)
    return answer


@dataclass(frozen=True, slots=True)
class Served:
    """A running API, and how to talk to it."""

    port: int
    app: Any
    http: httpx.Client

    @property
    def context(self) -> Context:
        context: Context = self.app.state.context
        return context

    @contextmanager
    def socket(self, *channels: str, token: str | None = TOKEN, **options: Any) -> Iterator[ClientConnection]:
        """A live client that has subscribed to the channels, and the bridge to the broker for it."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"ws://127.0.0.1:{self.port}/ws"
        with connect(url, additional_headers=headers, proxy=None, **options) as socket:
            if channels:
                socket.send(f'{{"subscribe": [{", ".join(f"{c!r}" for c in channels)}]}}'.replace("'", '"'))
                assert '"subscribed"' in str(socket.recv(5))
                until(lambda: self.context.bridge.health.subscribed, what="the bridge to subscribe")
            yield socket


@contextmanager
def serve(settings: Settings) -> Iterator[Served]:
    """Serves on `settings.api.port` until the block ends."""
    app = create_app(settings, token=TOKEN)
    config = uvicorn.Config(
        app, port=settings.api.port, ws="websockets-sansio", log_level="warning", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="served-api")
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), what="the API to listen")
        assert server.started
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(
            base_url=f"http://127.0.0.1:{settings.api.port}", headers=headers, trust_env=False, timeout=30
        ) as http:
            yield Served(settings.api.port, app, http)
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive()
