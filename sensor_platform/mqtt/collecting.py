"""One connection after another: from CONNECT to its end, whatever ends it. What was learnt of the broker outlives each.

The loop is here: read what has arrived, append one record batch, fdatasync, acknowledge, read again (`intake`).
"""

import time

from sensor_platform.errors import BrokerError, StagingUnavailableError
from sensor_platform.log import get_logger
from sensor_platform.mqtt.broker_facts import session_lost
from sensor_platform.mqtt.connection import Protocol, endpoint
from sensor_platform.mqtt.farewell import leave
from sensor_platform.mqtt.membership import may_leave
from sensor_platform.mqtt.parts import Parts
from sensor_platform.mqtt.protocol_choice import ProtocolChoice
from sensor_platform.mqtt.session import Session
from sensor_platform.mqtt.short_connections import ShortConnections
from sensor_platform.mqtt.states import State
from sensor_platform.mqtt.subscriber import Subscriber
from sensor_platform.mqtt.subscriptions import KeptSubscriptions
from sensor_platform.mqtt.wish import Wish
from sensor_platform.settings import MqttSettings


class Collecting:
    """The collector's thread calls everything.

    Args:
        database_url: where the other members of a share group are; None: nobody knows.
        may_fail: whether a refused subscription ends the connection, until all were granted.
    """

    def __init__(
        self,
        parts: Parts,
        settings: MqttSettings,
        wish: Wish,
        *,
        name: str,
        database_url: str | None,
        may_fail: bool,
    ) -> None:
        self._parts = parts
        self._mqtt = settings
        self._wish = wish
        self._name = name
        self._database_url = database_url
        self.may_fail = may_fail
        self.protocol = ProtocolChoice(settings.protocol)
        self._short_connections = ShortConnections(parts.client_id)
        self._was_refused = False

    @property
    def where(self) -> dict[str, str]:
        """What is connected to, for the history."""
        return {"broker": str(endpoint(self._mqtt)), "protocol": str(self.protocol.next)}

    def collect(self) -> None:
        """Until it should drain. Raises a BrokerError or a StagingUnavailableError."""
        parts = self._parts
        kept = KeptSubscriptions(parts.writer.folder, session=f"{parts.client_id}@{endpoint(self._mqtt)}")
        kept.connecting(noted=self.protocol.next is Protocol.V311)
        session = Session(
            self._mqtt,
            client_id=parts.client_id,
            protocol=self.protocol.next,
            waker=parts.waker,
            presence=parts.presence,
            wanted=parts.wanted.filters,
        )
        began_s = time.monotonic()
        try:
            if not session.open(should_stop=self._wish.should_drain):
                return
            parts.intake.begin(session)
            self._know_session(session, kept)
            if self.protocol.asks_for_5_again():
                return
            subscriber = Subscriber(session, kept, ask_again_s=self._mqtt.reconnect_max_s)
            if self._wish.leaves:
                self._wish.stopping = True
            else:
                self._connected(session, subscriber)
            self._loop(session, subscriber)
            self._end(session, subscriber)
        except BrokerError as err:
            parts.presence.ended(err)
            raise self._judged(err, session, lasted_s=time.monotonic() - began_s) from err
        except StagingUnavailableError as err:
            session.farewell = err.kind
            raise
        finally:
            parts.figures.connected = False
            session.close()

    def _know_session(self, session: Session, kept: KeptSubscriptions) -> None:
        if not session.session_present and kept.read().granted and not self._mqtt.clean_session:
            self._parts.warnings.found("session", [session_lost()])
        kept.connected(session_present=session.session_present)

    def _connected(self, session: Session, subscriber: Subscriber) -> None:
        parts = self._parts
        parts.figures.connections += 1
        parts.figures.connected = True
        parts.figures.packet()
        parts.figures.trouble(None)
        self._keep_subscribed(subscriber)
        get_logger().info(
            "connected",
            broker=str(session.endpoint),
            protocol=str(session.protocol),
            session_present=session.session_present,
            connection=parts.window.connection,
        )
        parts.warnings.of_connack(session, parts.wanted.filters)
        if parts.probe is not None:
            parts.probe.ask(session.protocol)
        parts.history.connected(**self.where, session_present=session.session_present)
        parts.board.go(State.COLLECTING)

    def _loop(self, session: Session, subscriber: Subscriber) -> None:
        parts = self._parts
        while not self._wish.should_drain():
            self._keep_subscribed(subscriber)
            is_busy = session.wait(parts.board.due_in_s(parts.intake.due_in_s()))
            if is_busy:
                parts.figures.packet()
            parts.intake.turn(session)
            session.check()
            parts.board.publish(at_once=not is_busy)

    def _end(self, session: Session, subscriber: Subscriber) -> None:
        self._parts.board.go(State.DRAINING)
        session.farewell = "stopped" if self._wish.stopping else "switched off"
        if not (self._may_leave() and self._left(session, subscriber)):
            self._parts.intake.drain(session)

    def _may_leave(self) -> bool:
        """A member that stops leaves its share group, rather than have the broker keep a share for it."""
        if self._wish.leaves:
            return True
        if not self._wish.stopping or self._mqtt.share_group is None or self._database_url is None:
            return False
        if may_leave(self._database_url, self._name, self._parts.wanted.filters):
            self._parts.wanted.standing = ()
            return True
        return False

    def _left(self, session: Session, subscriber: Subscriber) -> bool:
        within_s = self._mqtt.stop_timeout_s / 2  # the other half is for the disk, the seal and the goodbye
        return leave(session, subscriber, self._parts.intake, self._parts.wanted.filters, within_s=within_s)

    def _keep_subscribed(self, subscriber: Subscriber) -> None:
        """A refused subscription does not end the connection: the messages of the others come all the same."""
        parts = self._parts
        subscriber.turn(parts.wanted.filters)
        if subscriber.standing is not parts.wanted.standing:
            parts.wanted.standing = subscriber.standing
            if parts.witness is not None:
                parts.witness.ring()
        refusal = subscriber.refusal
        if refusal is not None:
            parts.board.tell(refusal)
            if self.may_fail:
                raise refusal
        elif self._was_refused:
            parts.figures.trouble(None)
        elif subscriber.settled:
            self.may_fail = False
        self._was_refused = refusal is not None

    def _judged(self, err: BrokerError, session: Session, *, lasted_s: float) -> BrokerError:
        """What a lost connection means beyond itself: another protocol to try, or a client id used twice."""
        if self.protocol.turned_down(err):
            return err
        was_connected = self._parts.figures.connected
        return self._short_connections.judged(err, session.endpoint, was_connected=was_connected, lasted_s=lasted_s)
