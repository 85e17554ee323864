"""Every error as JSON: `{"error": {"what": ..., "where": ..., "do": ...}}`."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sensor_platform.dead_letters.states import UnknownLetterError, WrongStepError
from sensor_platform.errors import (
    BrokerError,
    BytesDeletedError,
    ConfigurationError,
    DatabaseUnavailableError,
    DefinitionsUnavailableError,
    InvalidSubscriptionError,
    MissingMicroBatchError,
    NoMatchingSubscribersError,
    ObjectStoreError,
    SensorPlatformError,
)
from sensor_platform.pipeline.readings import UnknownSensorError

#: The first class that fits decides: status, and what to do about it.
_STATUS: tuple[tuple[type[SensorPlatformError], int, str], ...] = (
    (UnknownSensorError, 404, "name a sensor in full, as WORK_UNIT/NAME"),
    (MissingMicroBatchError, 404, "list the messages of the topic, or look at what `trace` names"),
    (BytesDeletedError, 410, "nothing brings the bytes back; its readings stay"),
    (UnknownLetterError, 404, "list the dead letters for their ids"),
    (WrongStepError, 409, "list the dead letters for their states"),
    (NoMatchingSubscribersError, 409, "check the topic against the routes, and that the collector is collecting"),
    (InvalidSubscriptionError, 409, "list the subscriptions for what is there"),
    (BrokerError, 502, "look at the broker, then try again"),
    (DatabaseUnavailableError, 503, "look at PostgreSQL, then try again"),
    (DefinitionsUnavailableError, 503, "look at PostgreSQL, then try again"),
    (ObjectStoreError, 503, "look at the object store, then try again"),
    (ConfigurationError, 500, "correct the setting and start the API again"),
    (SensorPlatformError, 500, "see the log of the API"),
)


class ApiError(Exception):
    """A request that cannot be done, and what to do instead."""

    def __init__(self, status: int, what: str, *, do: str) -> None:
        super().__init__(what)
        self.status, self.what, self.do = status, what, do


def refusal(status: int, *, what: str, where: str, do: str) -> JSONResponse:
    return JSONResponse({"error": {"what": what, "where": where, "do": do}}, status_code=status)


def add_error_handlers(app: FastAPI) -> None:
    """Our errors, FastAPI's and Starlette's, all in one form."""

    @app.exception_handler(ApiError)
    async def _own(request: Request, err: ApiError) -> JSONResponse:
        return refusal(err.status, what=err.what, where=request.url.path, do=err.do)

    @app.exception_handler(SensorPlatformError)
    async def _core(request: Request, err: SensorPlatformError) -> JSONResponse:
        status, do = next((status, do) for kind, status, do in _STATUS if isinstance(err, kind))
        return refusal(status, what=str(err), where=request.url.path, do=do)

    @app.exception_handler(TimeoutError)
    async def _late(request: Request, err: TimeoutError) -> JSONResponse:
        return refusal(504, what="no answer in time", where=request.url.path, do="try again")

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, err: RequestValidationError) -> JSONResponse:
        what = "; ".join(_field(error) for error in err.errors())
        return refusal(422, what=what, where=request.url.path, do="see docs/api.md for what this accepts")

    @app.exception_handler(HTTPException)
    async def _http(request: Request, err: HTTPException) -> JSONResponse:
        do = "see docs/api.md for the paths and their methods"
        return refusal(err.status_code, what=str(err.detail), where=request.url.path, do=do)


def _field(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"] if part not in ("body", "query"))
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
