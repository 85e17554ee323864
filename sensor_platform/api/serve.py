"""The part `api`: the application under uvicorn, on loopback, ended by SIGTERM within two seconds."""

import signal

import uvicorn

from sensor_platform.api.app import create_app
from sensor_platform.embedded.run_file import resolved
from sensor_platform.embedded.secrets import secret_file
from sensor_platform.log import get_logger, set_up_logging
from sensor_platform.settings import Settings, load_settings

log = get_logger(part="api")

#: For requests that are under way and for the closing handshake of WebSockets; what takes longer is cut off.
GRACE_S = 1
TOKEN_NAME = "api_token"  # noqa: S105 - a file's name


def main() -> None:
    """Serves until SIGTERM or SIGINT; exit code 0 then."""
    set_up_logging()
    serve(resolved(load_settings()))


def serve(settings: Settings) -> None:
    """Serves on the host and port of the settings."""
    token = secret_file(settings.home, TOKEN_NAME).read_text("utf-8").strip()
    config = uvicorn.Config(
        create_app(settings, token=token),
        host=settings.api.host,
        port=settings.api.port,
        ws="websockets-sansio",
        ws_max_size=65_536,
        timeout_graceful_shutdown=GRACE_S,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
    )
    # uvicorn sends itself the signal again when it is done: a stop that was asked for is no failure.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: None)
    log.info("api_starting", url=f"http://{settings.api.host}:{settings.api.port}")
    uvicorn.Server(config).run()
    log.info("api_stopped")
