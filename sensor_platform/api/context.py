"""What the endpoints work with: opened once for the process, handed to each request by FastAPI."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from sensor_platform.database.engine import Database
from sensor_platform.live.bridge import Bridge
from sensor_platform.live.hub import Hub
from sensor_platform.routes.model import Routes
from sensor_platform.settings import Settings
from sensor_platform.staging.store import Staging


@dataclass(frozen=True, slots=True)
class Context:
    """The parts behind the API."""

    settings: Settings
    database: Database
    staging: Staging
    routes: Routes
    hub: Hub
    bridge: Bridge
    token: str


def _context(connection: HTTPConnection) -> Context:
    context: Context = connection.app.state.context
    return context


Platform = Annotated[Context, Depends(_context)]
