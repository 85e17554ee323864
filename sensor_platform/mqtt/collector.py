"""The collector: what the broker sends goes to the disk, and only then back as an acknowledgement.

One thread, one loop: read what has arrived, append one record batch, fdatasync, acknowledge, read again. No queue and
no second thread, so memory is bounded by one read, and groups grow with the load by themselves. The witness thread
(`control`) reads frozen snapshots and keeps one wish; nothing else is shared.

Here is when it connects and when it rests; `collecting` is what it does while connected, `parts` what it is made of.
"""

import time
from types import TracebackType
from typing import Self

from sensor_platform.errors import (
    BrokerError,
    ClientIdTakenError,
    ConfigurationError,
    SensorPlatformError,
    StagingUnavailableError,
)
from sensor_platform.log import get_logger
from sensor_platform.mqtt.client_id import DEFAULT_COLLECTOR, checked_name
from sensor_platform.mqtt.collecting import Collecting
from sensor_platform.mqtt.health import CollectorHealth
from sensor_platform.mqtt.parts import Parts
from sensor_platform.mqtt.states import State
from sensor_platform.mqtt.wish import Wish
from sensor_platform.settings import Settings


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
        self._name = checked_name(name)
        self._database_url = database_url
        self._may_fail = once_connected_or_fail
        self._wish = Wish(managed=managed, leaves=leave)

    def __enter__(self) -> Self:
        parts = Parts.start(self._settings, name=self._name, database_url=self._database_url)
        self._parts = parts
        self._figures, self._board, self._writer = parts.figures, parts.board, parts.writer
        self._wish.witness = parts.witness
        self._collecting = Collecting(
            parts,
            self._settings.mqtt,
            self._wish,
            name=self._name,
            database_url=self._database_url,
            may_fail=self._may_fail,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.stop(kind, error, trace)

    @property
    def health(self) -> CollectorHealth:
        """How it is; may be read from any thread."""
        return self._board.health

    def request_stop(self) -> None:
        """Drain, seal, acknowledge, disconnect, return from `run`. From any thread, or a signal handler."""
        self._wish.stopping = True
        parts: Parts | None = getattr(self, "_parts", None)
        if parts is not None:
            parts.waker.wake()

    def run(self) -> None:
        """Collects until it is told to stop."""
        try:
            if self._wish.witness is not None and self._wish.managed:
                self._wish.witness.wait_for_first_word()  # one that starts while switched off does not connect first
            while not self._wish.stopping:
                if self._wish.is_wished():
                    self._attempt()
                else:
                    self._rest()
                    self._board.go(State.WAITING)
                    self._parts.waker.wait(1.0)
            self._rest()
        finally:
            if self._figures.state is not State.WAITING:
                self._board.go(State.DRAINING)
            self._board.go(State.STOPPED)

    def _rest(self) -> None:
        """Told to stop, whether connected or not: what a lost connection left open is sealed too."""
        if self._figures.state is not State.WAITING:
            self._board.go(State.DRAINING)
        try:
            if not self._writer.is_ready:  # what a former process, or the disk that refused, left behind
                self._recover()
            self._writer.seal()
            if self._figures.error_kind == StagingUnavailableError.kind:
                self._figures.trouble(None)
        except StagingUnavailableError as err:
            self._board.tell(err)

    def _recover(self) -> None:
        self._writer.recover()
        self._figures.incarnation = self._writer.incarnation

    def _attempt(self) -> None:
        """One connection, for as long as it lasts; after an error a pause."""
        self._board.go(State.CONNECTING)
        try:
            if not self._writer.is_ready:
                self._recover()
            self._collecting.collect()
            kind = "stopped" if self._wish.stopping else "switched_off"
            self._parts.history.closed(kind, "the collector was told to", **self._collecting.where)
        except ConfigurationError as err:
            if self._figures.connections == 0:
                raise
            self._failed(err)  # it was right before: a certificate that is just being replaced
        except (BrokerError, StagingUnavailableError) as err:
            self._failed(err)

    def _failed(self, err: SensorPlatformError) -> None:
        protocol = self._collecting.protocol
        if protocol.falls_back(err):
            get_logger().info("falling_back_to_3_1_1", broker_said=str(err))
            return  # and at once again
        self._parts.history.ended(err, **self._collecting.where)
        self._board.tell(err)
        if self._collecting.may_fail and not protocol.asks_for_3_1_1(err):
            raise err
        if self._figures.state is State.DRAINING:
            return
        self._board.go(State.CONNECTING)
        # Where two clients share a client id, each connection of one ends the other's.
        backoff = self._parts.backoff
        self._pause(backoff.longest_s() if isinstance(err, ClientIdTakenError) else backoff.next_s())

    def _pause(self, seconds: float) -> None:
        until_s, intake = time.monotonic() + seconds, self._parts.intake
        while (left_s := until_s - time.monotonic()) > 0 and not self._wish.should_drain():
            self._parts.waker.wait(min(left_s, intake.due_in_s()))
            try:
                intake.seal_if_due()
            except StagingUnavailableError as err:
                self._board.tell(err)
            self._board.publish()
