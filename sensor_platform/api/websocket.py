"""`/ws`: live readings. First the token, then what to subscribe to; then readings, and what was dropped of them.

client  {"token": "..."}                 (left out by who sends the Authorization header)
client  {"subscribe": ["press-1/+"]}     (channels as MQTT filters; again at any time, in place of the last)
server  {"type": "subscribed", "channels": [...]}
server  {"type": "readings", "readings": [{channel, work_unit, sensor, metric, time, value, text, unit, quality}]}
server  {"type": "dropped", "count": n}
"""

import asyncio
from typing import Any

import orjson
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from sensor_platform.api.context import Platform
from sensor_platform.api.security import bearer, is_token
from sensor_platform.live.hub import Subscriber

router = APIRouter()

TOKEN_TIMEOUT_S = 5.0
#: Close codes of our own [RFC 6455, 7.4.2].
UNAUTHORIZED = 4401
NOT_UNDERSTOOD = 4400


class _NotUnderstoodError(Exception):
    """What the client sent, and what is accepted."""


@router.websocket("/ws")
async def live(socket: WebSocket, platform: Platform) -> None:
    await socket.accept()
    try:
        if not await _may_listen(socket, platform.token):
            await socket.close(UNAUTHORIZED, "no valid token")
            return
        with platform.hub.subscriber() as subscriber:
            await _serve(socket, subscriber)
    except _NotUnderstoodError as err:
        await socket.close(NOT_UNDERSTOOD, str(err))
    except WebSocketDisconnect:
        return


async def _may_listen(socket: WebSocket, token: str) -> bool:
    if is_token(bearer(socket.headers), token):
        return True
    try:
        async with asyncio.timeout(TOKEN_TIMEOUT_S):
            given = (await _message(socket)).get("token")
    except TimeoutError:
        return False
    return isinstance(given, str) and is_token(given, token)


async def _serve(socket: WebSocket, subscriber: Subscriber) -> None:
    """Two tasks, one a direction; the first that ends ends both."""
    tasks = [asyncio.create_task(_listen(socket, subscriber)), asyncio.create_task(_send(socket, subscriber))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(socket: WebSocket, subscriber: Subscriber) -> None:
    while True:
        filters = (await _message(socket)).get("subscribe")
        if not isinstance(filters, list) or not all(isinstance(each, str) for each in filters):
            raise _NotUnderstoodError('accepted: {"subscribe": ["work_unit/sensor", ...]}')
        try:
            subscriber.wants(filters)
        except ValueError as err:
            raise _NotUnderstoodError(str(err)) from err
        await _text(socket, orjson.dumps({"type": "subscribed", "channels": filters}))


async def _send(socket: WebSocket, subscriber: Subscriber) -> None:
    while True:
        readings, dropped = await subscriber.take()
        if dropped:
            await _text(socket, orjson.dumps({"type": "dropped", "count": dropped}))
        # Each reading is JSON already: encoded once, however many clients there are.
        await _text(socket, b'{"type":"readings","readings":[' + b",".join(readings) + b"]}")


async def _text(socket: WebSocket, data: bytes) -> None:
    await socket.send_text(data.decode())


async def _message(socket: WebSocket) -> dict[str, Any]:
    try:
        message = orjson.loads(await socket.receive_text())
    except (orjson.JSONDecodeError, KeyError) as err:
        raise _NotUnderstoodError("messages are JSON objects, as text") from err
    if not isinstance(message, dict):
        raise _NotUnderstoodError("messages are JSON objects, as text")
    return message
