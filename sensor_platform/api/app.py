"""The application: its parts are opened when it starts and closed when it ends, never at import."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial

from fastapi import FastAPI

from sensor_platform import __version__
from sensor_platform.api import (
    collecting,
    dead_letters,
    figures,
    last,
    lineage,
    page,
    publishing,
    registry,
    subscriptions,
    websocket,
)
from sensor_platform.api.context import Context
from sensor_platform.api.errors import add_error_handlers
from sensor_platform.api.security import Guard
from sensor_platform.database.engine import connect_database
from sensor_platform.live.bridge import Bridge
from sensor_platform.live.definitions import HeardDefinitions
from sensor_platform.live.hub import Hub, LiveReading
from sensor_platform.pipeline.definitions import latest
from sensor_platform.routes.file import load_routes
from sensor_platform.settings import Settings
from sensor_platform.staging.place import open_staging

ROUTERS = (collecting, subscriptions, publishing, dead_letters, figures, last, lineage, registry, websocket, page)


def create_app(settings: Settings, *, token: str) -> FastAPI:
    """The API on `settings.api.port`: the Host header must name that port."""
    # No pages of documentation: theirs load code from elsewhere. docs/api.md has it.
    app = FastAPI(
        title="sensor-platform", version=__version__, openapi_url=None, lifespan=partial(_lifespan, settings, token)
    )
    app.add_middleware(Guard, token=token, port=settings.api.port)
    add_error_handlers(app)
    for module in ROUTERS:
        app.include_router(module.router)
    return app


@asynccontextmanager
async def _lifespan(settings: Settings, token: str, app: FastAPI) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    routes = load_routes(settings)
    with ExitStack() as stack:
        database = stack.enter_context(connect_database(settings))
        hub = Hub()
        heard = stack.enter_context(HeardDefinitions(partial(latest, database)))
        bridge = stack.enter_context(Bridge(settings, routes, partial(_to_loop, loop, hub), definitions=heard))
        hub.on_watched = bridge.watch
        context = Context(settings, database, open_staging(settings), routes, hub, bridge, token)
        app.state.context = context
        app.state.health = figures.Remembered(partial(figures.health_of, context), for_s=figures.HEALTH_FOR_S)
        yield


def _to_loop(loop: asyncio.AbstractEventLoop, hub: Hub, readings: list[LiveReading]) -> None:
    """From the bridge's thread to the loop's, which owns the hub."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(hub.publish, readings)
