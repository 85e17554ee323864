"""Headless Chromium over its DevTools socket: waits for what a page shows, and takes pictures. No driver needed."""

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from sensor_platform_tests.waiting import wait_until

START_TIMEOUT_S = 90
BINARIES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


def find_chromium() -> str | None:
    return next((found for name in BINARIES if (found := shutil.which(name))), None)


class Chromium:
    """`with Chromium() as browser: browser.open(url)`; one page, one profile, gone afterwards."""

    def __init__(self, *, width: int = 1400, height: int = 900) -> None:
        self._size = (width, height)
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
            self._profile = Path(stack.enter_context(folder))
            self._process = self._start()
            stack.callback(self._end)
            self._socket = stack.enter_context(self._attach())
            self._ask("Page.enable")
            self._ask("Runtime.enable")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def open(self, url: str) -> None:
        self._ask("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str, *, timeout_s: float = 30) -> Any:
        """The first true value of the expression; fails the test with what the page says when none comes."""
        deadline = time.monotonic() + timeout_s
        loaded = "document.readyState !== 'loading' && document.body"
        while not (value := self.evaluate(f"{loaded} && ({expression})")):
            if time.monotonic() > deadline:
                pytest.fail(f"waited {timeout_s} s for {expression}; the page says:\n{self.text()}")
            threading.Event().wait(0.1)
        return value

    def text(self) -> str:
        """What a person can read."""
        return str(self.evaluate("document.body.innerText"))

    def screenshot(self, path: Path) -> Path:
        picture = self._ask("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(picture))
        return path

    def _start(self) -> subprocess.Popen[bytes]:
        binary = find_chromium()
        assert binary is not None
        size = "--window-size={},{}".format(*self._size)
        command = [binary, *FLAGS, size, f"--user-data-dir={self._profile}", "about:blank"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def _attach(self) -> ClientConnection:
        port_file = self._profile / "DevToolsActivePort"

        def opened() -> bool:
            assert self._process.poll() is None, "chromium ended at once"
            return port_file.exists() and bool(port_file.read_text().strip())

        wait_until(opened, "chromium to open a DevTools port", START_TIMEOUT_S)
        port = int(port_file.read_text().split()[0])
        with httpx.Client(trust_env=False) as client:
            targets = client.get(f"http://127.0.0.1:{port}/json").json()
        url = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
        return connect(url, max_size=None, proxy=None)

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=30))
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result
