"""The running platform: `with Platform(settings) as platform: platform.wait_ready()`.

Two threads: the caller's, which only waits, and "supervisor", which starts, watches and stops every part. A process
beside them, the watchdog, ends the parts when this process is killed.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import psutil
from pydantic import SecretStr

from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.embedded.environment import environment_of, password_file_of
from sensor_platform.embedded.leftovers import Identity, Processes, end_leftovers, forget_processes, platform_lock
from sensor_platform.embedded.parts import (
    STOP_ORDER,
    Plan,
    dagster_home,
    parts_of,
    upgrade_tables,
    write_dagster_home,
)
from sensor_platform.embedded.ports import HOST, any_free_port, next_free_port
from sensor_platform.embedded.postgres import EmbeddedPostgres
from sensor_platform.embedded.run_file import Running, RunningPart, remove_run_file, write_run_file
from sensor_platform.embedded.secrets import private_folder, secret_file
from sensor_platform.embedded.supervisor import PartFailedError, Supervisor
from sensor_platform.embedded.workers import stop_within_s
from sensor_platform.settings import Settings


class Platform:
    """Every part of the platform on one home. `on_event` hears, in a line each, what a person should know."""

    def __init__(
        self, settings: Settings, *, development: bool = False, on_event: Callable[[str], None] = print
    ) -> None:
        self._asked = settings
        self._development = development
        self._on_event = on_event
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._running: Running | None = None
        self._failure: BaseException | None = None
        self._ended = False
        self._resources = ExitStack()

    @property
    def running(self) -> Running:
        """What run.json says now; only when every part has answered once."""
        assert self._running is not None, "wait_ready() comes first"
        return self._running

    @property
    def settings(self) -> Settings:
        """The settings with everything filled in that was found, made and chosen."""
        return self._settings

    def wait_ready(self, *, timeout_s: float = 180, unless: threading.Event | None = None) -> bool:
        """Waits until every part has answered; False when `unless` was set before.

        Raises:
            SensorPlatformError: a part does not start, or not in time.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self._running is None:
                self.check()
                if unless is not None and unless.is_set():
                    return False
                if time.monotonic() > deadline:
                    raise PartFailedError(f"not every part answered within {timeout_s:.0f} s: {self._lame()}")
                self._changed.wait(0.2)
        return True

    def check(self) -> None:
        """Raises what ended the supervision, if anything did."""
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            home = private_folder(self._asked.home)
            home.chmod(0o700)
            stack.enter_context(platform_lock(home))
            for name in end_leftovers(home):
                self._on_event(f"{name}: ended, it was left by a platform that was killed")
            plan = self._plan()
            if plan.postgres is None:
                upgrade_tables(plan.database_url)
            self._start(plan, stack)
            self._resources = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    def _plan(self) -> Plan:
        asked, home = self._asked, self._asked.home
        postgres = EmbeddedPostgres(home) if asked.database_url is None else None
        broker = None
        if asked.mqtt.broker_url is None:
            broker = EmbeddedBroker(home, next_free_port(asked.api.broker_port))
            if broker.note:
                self._on_event(broker.note)
        taken = {broker.port} if broker else set()
        dagster_port = next_free_port(asked.api.dagster_port, taken=taken)
        api_port = next_free_port(asked.api.port, taken={*taken, dagster_port})
        self._settings = self._filled_in(postgres, broker, dagster_port=dagster_port, api_port=api_port)
        self._token_file = secret_file(home, "api_token")
        self._password_file = broker.password_file if broker else password_file_of(self._settings)
        assert self._settings.database_url is not None
        code_server_port = any_free_port()
        write_dagster_home(home, code_server_port=code_server_port)
        return Plan(
            home=home,
            environment=self._environment(),
            database_url=self._settings.database_url.get_secret_value(),
            postgres=postgres,
            broker=broker,
            code_server_port=code_server_port,
            dagster_port=dagster_port,
            api_port=api_port,
            development=self._development,
            workers=self._settings.mqtt.collector_workers,
            collector_stops_within_s=stop_within_s(self._settings.mqtt),
        )

    def _filled_in(
        self, postgres: EmbeddedPostgres | None, broker: EmbeddedBroker | None, *, dagster_port: int, api_port: int
    ) -> Settings:
        asked = self._asked
        mqtt, ports = asked.mqtt, {"dagster_port": dagster_port, "port": api_port}
        if broker is not None:
            ports["broker_port"] = broker.port
            found = {
                "broker_url": broker.url,
                "username": broker.username,
                "password": SecretStr(broker.password),
                "protocol": broker.protocol if mqtt.protocol == "auto" else mqtt.protocol,
            }
            mqtt = mqtt.model_copy(update=found)
        url = postgres.url if postgres else asked.database_url.get_secret_value() if asked.database_url else ""
        return asked.model_copy(
            update={
                "mqtt": mqtt,
                # SQLAlchemy, and so Dagster, does not know the scheme postgres://.
                "database_url": SecretStr(urlsplit(url)._replace(scheme="postgresql").geturl()),
                "staging_url": asked.staging_url or (asked.home / "staging").as_uri(),
                "api": asked.api.model_copy(update=ports),
            }
        )

    def _environment(self) -> dict[str, str]:
        found = environment_of(self._settings)
        if self._password_file is not None:
            del found["MQTT_PASSWORD"]
            found["MQTT_PASSWORD_FILE"] = str(self._password_file)
        if self._asked.database_url is None:
            # Loopback, and no certificate: asking for encryption first is a round trip for each connection.
            found |= {"PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}
        return {
            **found,
            "DAGSTER_HOME": str(dagster_home(self._settings.home)),
            "PYTHONUNBUFFERED": "1",
            # Dagster's tables belong in public, also where a database's user has the name of our schema.
            "PGOPTIONS": "-c search_path=public",
        }

    def _start(self, plan: Plan, stack: ExitStack) -> None:
        home = plan.home
        logs = private_folder(home / "logs")
        self._identity = Identity(psutil.Process().pid, psutil.Process().create_time())
        Processes(self._identity).write(home)
        stack.callback(forget_processes, home)
        _start_watchdog(home, self._identity, stack)
        self._supervisor = Supervisor(
            list(parts_of(plan)), logs=logs, stop_order=STOP_ORDER, on_event=self._on_event, on_change=self._note
        )
        thread = threading.Thread(target=self._supervise, name="supervisor")
        stack.callback(remove_run_file, home)
        stack.callback(thread.join)
        stack.callback(self._stop.set)
        thread.start()

    def _supervise(self) -> None:
        try:
            self._supervisor.run(self._stop)
        except BaseException as err:  # noqa: BLE001  # the top of a thread: the caller's thread raises it
            self._failure = err
        finally:
            with self._changed:
                self._changed.notify_all()

    def _note(self, supervisor: Supervisor) -> None:
        """Writes down the processes at each change, and run.json when every part has answered once."""
        children = {name: one.child for name, one in supervisor.parts.items() if one.child is not None}
        parts = {name: Identity(child.pid, child.started_at) for name, child in children.items()}
        try:
            Processes(self._identity, parts).write(self._settings.home)
            if self._running is not None or supervisor.all_run:
                self._tell(self._described(supervisor))
        except OSError as err:  # on a full disk the parts are looked after all the same
            self._on_event(f"cannot write down the state of the parts: {err}")

    def _tell(self, running: Running) -> None:
        with self._changed:  # whoever waits for ready finds run.json
            self._running = running
            self._changed.notify_all()
            write_run_file(self._settings.home, running)

    def _described(self, supervisor: Supervisor) -> Running:
        settings = self._settings
        assert settings.database_url is not None
        return Running(
            pid=self._identity.pid,
            started_at=self._identity.started_at,
            mqtt_url=settings.mqtt.broker_url or "",
            mqtt_protocol=settings.mqtt.protocol,
            mqtt_username=settings.mqtt.username,
            mqtt_password_file=str(self._password_file) if self._password_file else None,
            database_url=settings.database_url.get_secret_value(),
            staging_url=settings.staging_url or "",
            routes=str(settings.routes_file.absolute()) if settings.routes_file else None,
            folder=str(Path.cwd()),
            dagster_url=f"http://{HOST}:{settings.api.dagster_port}",
            api_url=f"http://{HOST}:{settings.api.port}",
            token_file=str(self._token_file),
            parts={
                name: RunningPart(one.child.pid, one.state, one.restarts, one.child.started_at, one.part.port)
                for name, one in supervisor.parts.items()
                if one.child is not None
            },
        )

    def _lame(self) -> str:
        logs = self._settings.home / "logs"
        lame = [name for name, one in self._supervisor.parts.items() if not one.was_ready]
        return f"{', '.join(lame)}. See the logs in {logs}"


def _start_watchdog(home: Path, platform: Identity, stack: ExitStack) -> None:
    """Starts the process that ends the parts when ours is killed; it goes when its pipe closes."""
    arguments = [str(home), str(platform.pid), repr(platform.started_at)]
    watchdog = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-m", "sensor_platform.embedded.watchdog", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    )
    assert watchdog.stdin is not None
    stack.callback(watchdog.stdin.close)
