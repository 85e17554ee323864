"""The API as it is served: uvicorn on a free port, in a thread of this process so that tests see its parts."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from websockets.sync.client import ClientConnection, connect

from sensor_platform.api.app import create_app
from sensor_platform.api.context import Context
from sensor_platform.settings import Settings
from sensor_platform_tests.waiting import wait_until

TOKEN = "a token of the tests"


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
                wait_until(lambda: self.context.bridge.health.subscribed, what="the bridge to subscribe")
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
        wait_until(lambda: server.started or not thread.is_alive(), what="the API to listen")
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
