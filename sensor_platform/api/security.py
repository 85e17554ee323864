"""Who may talk to the API: a browser page of ours, or whoever holds the token.

One ASGI layer around everything, so that a path that nobody thought of needs the token too. Host and Origin are checked
before it: without that, any web page could reach a loopback server by a DNS name of its own.
"""

import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sensor_platform.api.errors import refusal

#: What needs no token. The page's shell holds no data.
OPEN_PATHS = frozenset({"/", "/api/mqtt/health"})
#: Checks its token itself: a browser cannot send headers with a WebSocket.
SOCKET_PATH = "/ws"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
HTTP_PORT = 80


class Guard:
    """Lets through what has the right Host, no foreign Origin, and the token where one is needed."""

    def __init__(self, app: ASGIApp, *, token: str, port: int) -> None:
        self._app = app
        self._token = token
        self._hosts = {f"{name}:{port}" for name in LOOPBACK} | ({*LOOPBACK} if port == HTTP_PORT else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = None if scope["type"] == "lifespan" else self._judge(scope)
        if refused is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refused[1]})
        else:
            status, what, do = refused
            await refusal(status, what=what, where=scope["path"], do=do)(scope, receive, _unauthorized(send))

    def _judge(self, scope: Scope) -> tuple[int, str, str] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if host not in self._hosts:
            return 421, f"the Host header is {host!r}", f"use one of {', '.join(sorted(self._hosts))}"
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in {f"http://{name}" for name in self._hosts}:
            return 403, f"the Origin header is {origin!r}", "open the API's own page"
        if scope["type"] == "websocket" and scope["path"] == SOCKET_PATH:
            return None
        if scope["path"] in OPEN_PATHS or is_token(bearer(headers), self._token):
            return None
        return 401, "no valid token", "send Authorization: Bearer TOKEN; TOKEN is in token_file of run.json"


def bearer(headers: Headers) -> str | None:
    """The token of the Authorization header."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def is_token(given: str | None, token: str) -> bool:
    """Compares in a time that says nothing about the token."""
    return given is not None and hmac.compare_digest(given.encode(), token.encode())


def _unauthorized(send: Send) -> Send:
    """Adds the header that a 401 must have."""

    async def with_challenge(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 401:
            message["headers"] = [*message["headers"], (b"www-authenticate", b"Bearer")]
        await send(message)

    return with_challenge
