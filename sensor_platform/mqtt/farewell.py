"""How a member leaves its share group: unsubscribe, take what the session still has, and end the session.

A broker goes on giving a member its share until the session ends, and what an ended session holds is lost: so first
nothing new, then all that is there, then the end. What cannot be taken in time stays there for the next start.
"""

import time

from sensor_platform.log import get_logger
from sensor_platform.mqtt.intake import Intake
from sensor_platform.mqtt.session import Session
from sensor_platform.mqtt.subscriber import Subscriber

#: A round trip that brings nothing, and takes at least so long: clustered brokers send what they queued a little later.
QUIET_S = 0.25


def leave(
    session: Session, subscriber: Subscriber, intake: Intake, wanted: tuple[str, ...], *, within_s: float
) -> bool:
    """Whether the session is over. Raises a BrokerError or a StagingUnavailableError: it is kept."""
    deadline_s = time.monotonic() + within_s
    while not _brings_nothing(session, subscriber, intake, wanted, deadline_s=deadline_s):
        if time.monotonic() > deadline_s:
            get_logger().warning("session_is_kept", reason=f"messages still came after {within_s:.0f} s")
            return False
    intake.drain(session)
    session.end()
    subscriber.forget()
    return True


def _brings_nothing(
    session: Session, subscriber: Subscriber, intake: Intake, wanted: tuple[str, ...], *, deadline_s: float
) -> bool:
    """One UNSUBSCRIBE and its answer. The broker sends in order: what it still had for us comes before."""
    began_s, before = time.monotonic(), intake.messages
    answered = subscriber.unsubscribe_all(wanted)
    while not answered() or time.monotonic() - began_s < QUIET_S:
        if time.monotonic() > deadline_s:
            return False
        session.wait(min(QUIET_S, intake.due_in_s()))
        intake.turn(session)
        session.check()
    return intake.messages == before and not session.arrived
