"""`home/run.json`: how other commands find the running platform."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from sensor_platform.embedded.process import is_alive
from sensor_platform.embedded.secrets import write_private
from sensor_platform.routes.place import PACKAGED, ROUTE_FILE
from sensor_platform.settings import Settings

NAME = "run.json"


@dataclass(frozen=True, slots=True)
class RunningPart:
    """One part. `started_at` (seconds since 1970) with `pid` names its process. `port` 0: it has none."""

    pid: int
    state: str
    restarts: int
    started_at: float = 0.0
    port: int = 0


@dataclass(frozen=True, slots=True)
class Running:
    """What run.json holds."""

    pid: int
    mqtt_url: str
    mqtt_username: str | None
    mqtt_password_file: str | None
    database_url: str
    staging_url: str
    dagster_url: str
    api_url: str
    token_file: str
    started_at: float = 0.0
    mqtt_protocol: Literal["auto", "5", "3.1.1"] = "auto"
    routes: str | None = None  # the route file that its settings name
    folder: str | None = None  # where it looks for routes.yaml when they name none
    parts: dict[str, RunningPart] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str) -> "Running":
        values: dict[str, Any] = json.loads(text)
        parts = {name: RunningPart(**part) for name, part in values.pop("parts").items()}
        return cls(**values, parts=parts)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def write_run_file(home: Path, running: Running) -> None:
    """Whole or not at all, and for its owner only: it holds the database's password."""
    write_private(home / NAME, running.to_json())


def remove_run_file(home: Path) -> None:
    (home / NAME).unlink(missing_ok=True)


def read_record(home: Path) -> Running | None:
    """What the last platform of this home wrote, whether it still runs or not."""
    try:
        return Running.from_json((home / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        return None  # of another version: nothing that we could use


def read_run_file(home: Path) -> Running | None:
    """The running platform of this home; None when there is none."""
    running = read_record(home)
    return running if running is not None and is_alive(running.pid, running.started_at) else None


def resolved(settings: Settings) -> Settings:
    """Settings with what they leave open filled in from the running platform: explicit settings win."""
    running = read_run_file(settings.home)
    if running is None:
        return settings
    mqtt = settings.mqtt
    if mqtt.broker_url is None:
        password = Path(running.mqtt_password_file).read_text(encoding="utf-8") if running.mqtt_password_file else None
        mqtt = mqtt.model_copy(
            update={
                "broker_url": running.mqtt_url,
                "protocol": running.mqtt_protocol if mqtt.protocol == "auto" else mqtt.protocol,
                "username": mqtt.username or running.mqtt_username,
                "password": mqtt.password or (SecretStr(password.strip()) if password else None),
            }
        )
    return settings.model_copy(
        update={
            "mqtt": mqtt,
            "database_url": settings.database_url or SecretStr(running.database_url),
            "staging_url": settings.staging_url or running.staging_url,
            "routes_file": settings.routes_file or routes_of(running),
        }
    )


def routes_of(running: Running) -> Path | None:
    """The route file that it takes now: `routes.yaml` may come and go while it runs. None: it wrote down none."""
    if running.routes is not None:
        return Path(running.routes)
    if running.folder is None:
        return None
    local = Path(running.folder) / ROUTE_FILE
    return local if local.is_file() else PACKAGED
