"""The parts of the platform: what each one runs, and how to know that it answers.

Everything listens on loopback, on ports that are chosen once and kept when a part starts again.
"""

import http.client
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import psutil
import psycopg

from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.embedded.ports import HOST, answers
from sensor_platform.embedded.postgres import EmbeddedPostgres
from sensor_platform.embedded.process import Child, Command
from sensor_platform.embedded.secrets import private_folder
from sensor_platform.embedded.supervisor import Part

#: What takes messages in stops after what reads them; servers that others need stop last.
STOP_ORDER = (("api", "webserver", "daemon"), ("code_server",), ("collector",), ("broker",), ("postgres",))

COLLECTOR_BEATS = """
    select 1 from sensor_platform.collector_heartbeat
    where pid = any(%s) and beat_at > now() - interval '10 s' and state in ('collecting', 'draining', 'waiting')
    having count(*) = %s
"""
DAEMON_BEATS = """
    select 1 from public.daemon_heartbeats
    where daemon_type = 'SENSOR' and timestamp > (to_timestamp(%s) at time zone 'utc')
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the parts are started with. `postgres` and `broker` are None where the user has their own."""

    home: Path
    environment: dict[str, str]
    database_url: str
    postgres: EmbeddedPostgres | None
    broker: EmbeddedBroker | None
    code_server_port: int
    dagster_port: int
    api_port: int
    development: bool = False
    workers: int = 1
    collector_stops_within_s: float = 20.0


def parts_of(plan: Plan) -> Iterator[Part]:
    """The parts in the order of their start."""
    if plan.postgres is not None:
        yield _postgres(plan.postgres)
    if plan.broker is not None:
        yield Part("broker", plan.broker.command, lambda _, b=plan.broker: b.is_ready(), port=plan.broker.port)  # type: ignore[misc]
    yield _collector(plan)
    yield from _dagster_development(plan) if plan.development else _dagster(plan)
    yield Part(
        "api",
        lambda: _python(plan, "sensor_platform.api"),
        lambda _: responds(plan.api_port, "/api/mqtt/health"),
        needs=("postgres", "broker", "webserver"),
        port=plan.api_port,
    )


def _collector(plan: Plan) -> Part:
    workers = ("--workers", str(plan.workers)) if plan.workers > 1 else ()
    return Part(
        "collector",
        lambda: _python(plan, "sensor_platform.cli", "collect", *workers),
        lambda child: _finds(plan, COLLECTOR_BEATS, _collectors(child, plan.workers), plan.workers),
        needs=("postgres", "broker"),
        stop_within_s=plan.collector_stops_within_s,
    )


def _collectors(child: Child, workers: int) -> list[int]:
    """The pids of those that beat: the part itself, or the workers below it."""
    if workers == 1:
        return [child.pid]
    try:
        return [each.pid for each in psutil.Process(child.pid).children()]
    except psutil.Error:
        return []


def _postgres(server: EmbeddedPostgres) -> Part:
    migrated = False

    def answers_with_tables(_: Child) -> bool:
        nonlocal migrated
        if not server.is_ready():
            return False
        if not migrated:
            upgrade_tables(server.url)
            migrated = True
        return True

    return Part("postgres", server.command, answers_with_tables, port=server.port, stop_within_s=20)


def upgrade_tables(database_url: str) -> None:
    """Our tables, before any part looks at them."""
    from sensor_platform.database.engine import Database
    from sensor_platform.database.migrate import upgrade

    with Database(database_url) as database:
        upgrade(database)


def _dagster(plan: Plan) -> Iterator[Part]:
    port, workspace = str(plan.code_server_port), str(dagster_home(plan.home) / "workspace.yaml")
    serve = ("api", "grpc", "-m", "sensor_platform.definitions", "--host", HOST, "-p", port)
    # Connections of before a crash of the database are not kept for long: the page would show an error for each.
    ui = ("-h", HOST, "-p", str(plan.dagster_port), "-w", workspace, "--db-pool-recycle", "10")
    yield Part(
        "code_server",
        lambda: _python(plan, "sensor_platform.embedded.code_server", *serve),
        lambda _: answers(plan.code_server_port),
        needs=("postgres",),
        port=plan.code_server_port,
    )
    yield Part(
        "daemon",
        lambda: _python(plan, "dagster._daemon", "run", "-w", workspace),
        lambda child: _finds(plan, DAEMON_BEATS, child.started_at),
        needs=("code_server",),
    )
    yield Part(
        "webserver",
        lambda: _python(plan, "dagster_webserver", *ui),
        lambda _: responds(plan.dagster_port, "/server_info"),
        needs=("code_server",),
        port=plan.dagster_port,
    )


def _dagster_development(plan: Plan) -> Iterator[Part]:
    """Dagster's development server: daemon, webserver and code servers under one parent."""
    arguments = ("dev", "-m", "sensor_platform.definitions", "-h", HOST, "-p", str(plan.dagster_port))
    yield Part(
        "webserver",
        lambda: _python(plan, "dagster", *arguments),
        lambda child: responds(plan.dagster_port, "/server_info") and _finds(plan, DAEMON_BEATS, child.started_at),
        needs=("postgres",),
        port=plan.dagster_port,
    )


def _python(plan: Plan, module: str, *arguments: str) -> Command:
    return Command((sys.executable, "-m", module, *arguments), environment=plan.environment)


def _finds(plan: Plan, query: str, *parameters: Any) -> bool:
    """Whether the query has a row; a database that is down or still without that table has none."""
    try:
        with psycopg.connect(plan.database_url, connect_timeout=3) as connection:
            return connection.execute(query, parameters).fetchone() is not None
    except psycopg.Error:
        return False


def responds(port: int, path: str, *, timeout_s: float = 5) -> bool:
    """Whether HTTP is answered there; 503 counts: whoever says so lives."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().status in (200, 503)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def dagster_home(home: Path) -> Path:
    return home / "dagster"


def write_dagster_home(home: Path, *, code_server_port: int) -> None:
    """DAGSTER_HOME with its two files."""
    folder = private_folder(dagster_home(home))
    with resources.as_file(resources.files(__package__).joinpath("dagster.yaml")) as packaged:
        shutil.copyfile(packaged, folder / "dagster.yaml")
    server = {"host": HOST, "port": code_server_port, "location_name": "sensor_platform"}
    # JSON is YAML.
    (folder / "workspace.yaml").write_text(json.dumps({"load_from": [{"grpc_server": server}]}) + "\n")
