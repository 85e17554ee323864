"""The collector: what the broker sends goes to the disk, and only then back as an acknowledgement.

One thread, one loop: read what has arrived, append one record batch, fdatasync, acknowledge, read again. No queue and
no second thread, so memory is bounded by one read, and groups grow with the load by themselves. The witness thread
(`control`) reads frozen snapshots and keeps one wish; nothing else is shared.
"""

import time
from types import TracebackType
from typing import Self

from sensor_platform.errors import (
    BrokerError,
    BrokerUnreachableError,
    ClientIdTakenError,
    ConfigurationError,
    SensorPlatformError,
    StagingUnavailableError,
)
from sensor_platform.log import get_logger
from sensor_platform.mqtt.backoff import Backoff
from sensor_platform.mqtt.broker_facts import session_lost
from sensor_platform.mqtt.client_id import DEFAULT_COLLECTOR, checked_name, client_id
from sensor_platform.mqtt.connection import Protocol, UnsupportedProtocolError, endpoint
from sensor_platform.mqtt.control import Witness
from sensor_platform.mqtt.farewell import leave
from sensor_platform.mqtt.health import CollectorHealth, Figures
from sensor_platform.mqtt.history import ConnectionHistory
from sensor_platform.mqtt.intake import Intake
from sensor_platform.mqtt.membership import may_leave
from sensor_platform.mqtt.presence import Presence
from sensor_platform.mqtt.probe import BrokerProbe
from sensor_platform.mqtt.redelivery import RedeliveryWindow
from sensor_platform.mqtt.session import NoAnswerError, Session
from sensor_platform.mqtt.states import State
from sensor_platform.mqtt.subscriber import Standing, Subscriber
from sensor_platform.mqtt.subscriptions import AddedSubscriptions, KeptSubscriptions, cover, in_group
from sensor_platform.mqtt.waker import Waker
from sensor_platform.mqtt.warnings import Warnings
from sensor_platform.settings import Settings
from sensor_platform.staging.store import staging_root
from sensor_platform.staging.uploader import open_uploader
from sensor_platform.staging.writer import StagingWriter

#: Connections that end this soon, this often, without a word, are what a stolen client id looks like.
SHORT_S = 5.0
SHORT_CONNECTIONS = 3
#: Between two snapshots while messages come: one costs what several messages do.
HEALTH_EVERY_S = 0.02


class Collector:
    """`with Collector(settings) as collector: collector.run()`. `request_stop` may come from anywhere.

    Args:
        database_url: where the witness beats and reads the wish; None: nowhere, and it collects.
        managed: whether it does as the control row says.
        once_connected_or_fail: whether `run` raises the first error of the broker or the disk that comes before it was
            connected and subscribed. After that it tries again whatever comes, as it always does without.
        leave: takes what the broker still holds for it, ends its session and returns.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        database_url: str | None = None,
        managed: bool = True,
        name: str = DEFAULT_COLLECTOR,
        once_connected_or_fail: bool = False,
        leave: bool = False,
    ) -> None:
        self._settings = settings
        self._mqtt = settings.mqtt
        self._name = checked_name(name)
        self._database_url = database_url
        self._managed = managed
        self._may_fail = once_connected_or_fail
        self._leave = leave
        self._stopping = False
        self._protocol = Protocol.V311 if self._mqtt.protocol == "3.1.1" else Protocol.V5
        self._is_old_broker = False
        self._was_refused = False
        self._short_connections = 0

    def __enter__(self) -> Self:
        from sensor_platform.routes.file import load_routes

        # The collector knows filters only; what the payloads mean is decoded elsewhere.
        self._of_routes = tuple(load_routes(self._settings, with_transformers=False).filters)
        self._client_id = client_id(self._settings, self._name)
        self._window = RedeliveryWindow()
        self._writer = StagingWriter(
            staging_root(self._settings),
            window=self._window,
            collector=self._name,
            max_messages=self._mqtt.buffer_max_size,
            max_age_s=self._mqtt.buffer_flush_interval_ms / 1000,
        )
        self._writer.__enter__()
        self._kept_added = AddedSubscriptions(self._writer.folder)
        self._wanted = self._told_as(self._kept_added.read())
        self._standing: tuple[Standing, ...] = ()
        self._history = ConnectionHistory()
        self._figures = Figures(self._name, self._client_id)
        self._presence = Presence(self._mqtt.status_topic, collector=self._name, client_id=self._client_id)
        self._warnings = Warnings(self._figures, self._mqtt, self._presence)
        self._health = self._figures.snapshot()
        self._health_at_s, self._health_is_old = time.monotonic(), False
        self._backoff = Backoff(least_s=self._mqtt.reconnect_min_s, most_s=self._mqtt.reconnect_max_s)
        self._intake = Intake(
            self._writer,
            self._window,
            self._figures,
            linger_s=self._mqtt.linger_ms / 1000,
            on_commit=self._backoff.progress,
        )
        self._waker = Waker()
        self._probe: BrokerProbe | None = None
        if self._mqtt.broker_check_interval_s:
            self._probe = BrokerProbe(self._mqtt, on_found=self._waker.wake)
            self._probe.start()
        self._uploader = open_uploader(self._settings)
        if self._uploader is not None:
            self._uploader.start()
        self._witness: Witness | None = None
        if self._database_url is not None:
            self._witness = Witness(
                self._database_url,
                collector=self._name,
                health=lambda: self._health,
                history=self._history,
                standing=lambda: self._standing,
                on_wish=self._waker.wake,
                on_added=self._added,
            )
            self._witness.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._probe is not None:
            self._probe.stop()
        if self._uploader is not None:
            self._uploader.stop()
            self._publish_health()
        if self._witness is not None:
            self._witness.stop()
        self._writer.__exit__(kind, error, trace)
        self._waker.close()

    @property
    def health(self) -> CollectorHealth:
        """How it is; may be read from any thread."""
        return self._health

    def request_stop(self) -> None:
        """Drain, seal, acknowledge, disconnect, return from `run`. From any thread, or a signal handler."""
        self._stopping = True
        waker: Waker | None = getattr(self, "_waker", None)
        if waker is not None:
            waker.wake()

    def _added(self, filters: tuple[str, ...]) -> None:
        """What the database says was added while running; the witness's thread calls it when that changes."""
        if filters != self._kept_added.read():
            self._kept_added.write(filters)
        wanted = self._told_as(filters)
        if wanted != self._wanted:
            self._wanted = wanted
            self._waker.wake()

    def _told_as(self, added: tuple[str, ...]) -> tuple[str, ...]:
        return in_group(cover(self._of_routes, added), self._mqtt.share_group)

    def run(self) -> None:
        """Collects until it is told to stop."""
        try:
            if self._witness is not None and self._managed:
                self._witness.wait_for_first_word()  # one that starts while switched off does not connect first
            while not self._stopping:
                if self._is_wished():
                    self._attempt()
                else:
                    self._rest()
                    self._go(State.WAITING)
                    self._waker.wait(1.0)
            self._rest()
        finally:
            if self._figures.state is not State.WAITING:
                self._go(State.DRAINING)
            self._go(State.STOPPED)

    def _rest(self) -> None:
        """Told to stop, whether connected or not: what a lost connection left open is sealed too."""
        if self._figures.state is not State.WAITING:
            self._go(State.DRAINING)
        try:
            if not self._writer.is_ready:  # what a former process, or the disk that refused, left behind
                self._recover()
            self._writer.seal()
            if self._figures.error_kind == StagingUnavailableError.kind:
                self._figures.trouble(None)
        except StagingUnavailableError as err:
            self._tell(err)

    def _is_wished(self) -> bool:
        return self._leave or self._witness is None or not self._managed or self._witness.wished

    def _should_drain(self) -> bool:
        return self._stopping or not self._is_wished()

    def _attempt(self) -> None:
        """One connection, for as long as it lasts; after an error a pause."""
        self._go(State.CONNECTING)
        try:
            if not self._writer.is_ready:
                self._recover()
            self._collect()
            kind = "stopped" if self._stopping else "switched_off"
            self._history.closed(kind, "the collector was told to", **self._where())
        except ConfigurationError as err:
            if self._figures.connections == 0:
                raise
            self._failed(err)  # it was right before: a certificate that is just being replaced
        except (BrokerError, StagingUnavailableError) as err:
            self._failed(err)

    def _recover(self) -> None:
        self._writer.recover()
        self._figures.incarnation = self._writer.incarnation

    def _collect(self) -> None:
        kept = KeptSubscriptions(self._writer.folder, session=f"{self._client_id}@{endpoint(self._mqtt)}")
        kept.connecting(noted=self._protocol is Protocol.V311)
        session = Session(
            self._mqtt,
            client_id=self._client_id,
            protocol=self._protocol,
            waker=self._waker,
            presence=self._presence,
            wanted=self._wanted,
        )
        began_s = time.monotonic()
        try:
            if not session.open(should_stop=self._should_drain):
                return
            self._intake.begin(session)
            self._know_session(session, kept)
            if self._asks_for_5_again():
                return
            subscriber = Subscriber(session, kept, ask_again_s=self._mqtt.reconnect_max_s)
            if self._leave:
                self._stopping = True
            else:
                self._connected(session, subscriber)
            while not self._should_drain():
                self._keep_subscribed(subscriber)
                is_busy = session.wait(self._due_in_s())
                if is_busy:
                    self._figures.packet()
                self._intake.turn(session)
                session.check()
                self._publish_health(at_once=not is_busy)
            self._go(State.DRAINING)
            session.farewell = "stopped" if self._stopping else "switched off"
            if not (self._may_leave() and self._left(session, subscriber)):
                self._intake.drain(session)
        except BrokerError as err:
            self._presence.ended(err)
            raise self._judged(err, session, lasted_s=time.monotonic() - began_s) from err
        except StagingUnavailableError as err:
            session.farewell = err.kind
            raise
        finally:
            self._figures.connected = False
            session.close()

    def _may_leave(self) -> bool:
        """A member that stops leaves its share group, rather than have the broker keep a share for it."""
        if self._leave:
            return True
        if not self._stopping or self._mqtt.share_group is None or self._database_url is None:
            return False
        if may_leave(self._database_url, self._name, self._wanted):
            self._standing = ()
            return True
        return False

    def _left(self, session: Session, subscriber: Subscriber) -> bool:
        within_s = self._mqtt.stop_timeout_s / 2  # the other half is for the disk, the seal and the goodbye
        return leave(session, subscriber, self._intake, self._wanted, within_s=within_s)

    def _where(self) -> dict[str, str]:
        return {"broker": str(endpoint(self._mqtt)), "protocol": str(self._protocol)}

    def _asks_for_5_again(self) -> bool:
        """3.1.1 was answered and 5 was not: perhaps nobody was there then, so 5 is asked once more."""
        if self._protocol is Protocol.V5:
            self._is_old_broker = False
        elif self._mqtt.protocol == "auto" and not self._is_old_broker:
            self._is_old_broker, self._protocol = True, Protocol.V5
            return True
        return False

    def _connected(self, session: Session, subscriber: Subscriber) -> None:
        self._figures.connections += 1
        self._figures.connected = True
        self._figures.packet()
        self._figures.trouble(None)
        self._keep_subscribed(subscriber)
        get_logger().info(
            "connected",
            broker=str(session.endpoint),
            protocol=str(session.protocol),
            session_present=session.session_present,
            connection=self._window.connection,
        )
        self._warnings.of_connack(session, self._wanted)
        if self._probe is not None:
            self._probe.ask(session.protocol)
        self._history.connected(**self._where(), session_present=session.session_present)
        self._go(State.COLLECTING)

    def _know_session(self, session: Session, kept: KeptSubscriptions) -> None:
        if not session.session_present and kept.read().granted and not self._mqtt.clean_session:
            self._warnings.found("session", [session_lost()])
        kept.connected(session_present=session.session_present)

    def _keep_subscribed(self, subscriber: Subscriber) -> None:
        """A refused subscription does not end the connection: the messages of the others come all the same."""
        subscriber.turn(self._wanted)
        if subscriber.standing is not self._standing:
            self._standing = subscriber.standing
            if self._witness is not None:
                self._witness.ring()
        refusal = subscriber.refusal
        if refusal is not None:
            self._tell(refusal)
            if self._may_fail:
                raise refusal
        elif self._was_refused:
            self._figures.trouble(None)
        elif subscriber.settled:
            self._may_fail = False
        self._was_refused = refusal is not None

    def _judged(self, err: BrokerError, session: Session, *, lasted_s: float) -> BrokerError:
        """What a lost connection means beyond itself: another protocol to try, or a client id used twice."""
        if isinstance(err, UnsupportedProtocolError | NoAnswerError) and self._mqtt.protocol == "auto":
            self._is_old_broker = self._is_old_broker or isinstance(err, UnsupportedProtocolError)
            self._protocol = Protocol.V311 if self._protocol is Protocol.V5 else Protocol.V5
            return err
        # 3.1.1 has no word for it, and mosquitto 2.0 says none on 5 either while messages are in flight.
        is_short = isinstance(err, BrokerUnreachableError) and self._figures.connected and lasted_s < SHORT_S
        self._short_connections = self._short_connections + 1 if is_short else 0
        if self._short_connections >= SHORT_CONNECTIONS:
            return ClientIdTakenError(
                f"broker {session.endpoint}: it ended {self._short_connections} connections within seconds. Does "
                f"another client use the client id {self._client_id!r}? Give each collector its own MQTT_CLIENT_ID."
            )
        return err

    def _failed(self, err: SensorPlatformError) -> None:
        if (
            isinstance(err, UnsupportedProtocolError)
            and self._mqtt.protocol == "auto"
            and self._protocol is Protocol.V311
        ):
            get_logger().info("falling_back_to_3_1_1", broker_said=str(err))
            return  # and at once again
        self._history.ended(err, **self._where())
        self._tell(err)
        if self._may_fail and not self._asks_for_3_1_1(err):
            raise err
        if self._figures.state is State.DRAINING:
            return
        self._go(State.CONNECTING)
        # Where two clients share a client id, each connection of one ends the other's.
        self._pause(self._backoff.longest_s() if isinstance(err, ClientIdTakenError) else self._backoff.next_s())

    def _asks_for_3_1_1(self, err: SensorPlatformError) -> bool:
        """Hanging up on version 5 is how some old brokers say that they do not know it."""
        return isinstance(err, NoAnswerError) and self._mqtt.protocol == "auto" and self._protocol is Protocol.V311

    def _pause(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0 and not self._should_drain():
            self._waker.wait(min(left_s, self._intake.due_in_s()))
            try:
                self._intake.seal_if_due()
            except StagingUnavailableError as err:
                self._tell(err)
            self._publish_health()

    def _go(self, state: State) -> None:
        if self._figures.go(state):
            get_logger().info("collector_state", state=str(state))
        self._publish_health()

    def _tell(self, err: SensorPlatformError) -> None:
        if self._figures.trouble(err):  # once, not at each attempt
            get_logger().error("cannot_collect", kind=err.kind, error=str(err))

    def _due_in_s(self) -> float:
        due_s = self._intake.due_in_s()
        return min(due_s, HEALTH_EVERY_S) if self._health_is_old else due_s

    def _publish_health(self, *, at_once: bool = True) -> None:
        now_s = time.monotonic()
        self._health_is_old = not at_once and now_s - self._health_at_s < HEALTH_EVERY_S
        if self._health_is_old:
            return
        self._health_at_s = now_s
        self._warnings.of_clock(self._writer.clock, database_off_s=self._witness.clock_off_s if self._witness else 0.0)
        self._warnings.look_around(self._probe)
        self._figures.open_messages = self._writer.open_messages
        if self._uploader is not None:
            self._figures.uploads = self._uploader.backlog
        self._health = self._figures.snapshot()
