"""Between a connection and the staging area: when a group is full enough, durable first, acknowledged after."""

import time
from collections.abc import Callable

from sensor_platform.mqtt.arrived import READ_BYTES, Arrived
from sensor_platform.mqtt.health import Figures
from sensor_platform.mqtt.linger import Linger
from sensor_platform.mqtt.redelivery import RedeliveryWindow
from sensor_platform.mqtt.session import Session
from sensor_platform.staging.format import Group
from sensor_platform.staging.kill_points import kill_point
from sensor_platform.staging.writer import StagingWriter

IDLE_S = 1.0


class Intake:
    """Owned by the collector's thread. `on_commit` is called after each group that is durable."""

    def __init__(
        self,
        writer: StagingWriter,
        window: RedeliveryWindow,
        figures: Figures,
        *,
        linger_s: float,
        on_commit: Callable[[], None],
    ) -> None:
        self._writer = writer
        self._window = window
        self._figures = figures
        self._linger = Linger(linger_s)
        self._on_commit = on_commit
        self._must_forget = False  # the broker's session is new, and the disk does not know it yet
        self._new_session = False  # marks the first group of the connection

    def begin(self, session: Session) -> None:
        """After CONNACK, before anything is staged. Raises StagingUnavailableError."""
        self._linger.begin()
        self._window.connected()
        self._must_forget = self._must_forget or not session.session_present
        # Only in the connection that began the session: later, a marker would forget what is in flight.
        self._new_session = self._must_forget
        if self._must_forget:
            self._writer.begin_session()
            self._must_forget = False

    @property
    def messages(self) -> int:
        """Staged by this process."""
        return self._figures.messages

    def due_in_s(self) -> float:
        """How long the loop may sleep."""
        seal_s = self._writer.due_in_s
        linger_s = self._linger.left_s(time.monotonic())
        return min(due_s for due_s in (IDLE_S, seal_s, linger_s) if due_s is not None)

    def turn(self, session: Session) -> None:
        """Stages and acknowledges what waited long enough; seals what is due. Raises StagingUnavailableError."""
        if self._is_full_enough(session):
            self._acknowledge(session, self._stage(session))
        self.seal_if_due()

    def drain(self, session: Session) -> None:
        """Stages what was read, seals, acknowledges."""
        staged = self._stage(session)
        self._writer.seal()
        self._acknowledge(session, staged)

    def seal_if_due(self) -> None:
        if self._writer.due_in_s == 0:
            self._writer.seal()

    def _is_full_enough(self, session: Session) -> bool:
        arrived = session.arrived
        return bool(arrived) and (
            self._linger.is_over(len(arrived), time.monotonic())
            or arrived.size_bytes >= READ_BYTES
            or not session.connected
        )

    def _stage(self, session: Session) -> Arrived:
        taken = session.take()
        self._linger.staged()
        if not taken:
            return taken
        group = Group(
            first_bytes=bytes(taken.first_bytes),
            topics=taken.topics,
            payloads=taken.payloads,
            packet_ids=taken.ids,
            connection=self._window.connection,
            content_types=taken.content_types,
            user_properties=taken.user_properties,
            new_session=self._new_session,
        )
        redelivered = self._writer.stage(group)
        self._new_session = False
        self._figures.committed(
            messages=len(taken),
            payload_bytes=taken.size_bytes,
            redelivered=redelivered,
            qos0=taken.qos0,
        )
        self._on_commit()
        return taken

    def _acknowledge(self, session: Session, staged: Arrived) -> None:
        # Only after fdatasync: the broker forgets on PUBACK [MQTT-4.3.2-4].
        if staged:
            kill_point("before_acknowledge")
            session.acknowledge(staged)
            kill_point("after_acknowledge")
