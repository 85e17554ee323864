"""What a collector is made of: put together and started in one place, stopped in the order in which that is safe."""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from sensor_platform.mqtt.backoff import Backoff
from sensor_platform.mqtt.client_id import client_id
from sensor_platform.mqtt.control import Witness
from sensor_platform.mqtt.health import Figures
from sensor_platform.mqtt.health_board import HealthBoard
from sensor_platform.mqtt.history import ConnectionHistory
from sensor_platform.mqtt.intake import Intake
from sensor_platform.mqtt.presence import Presence
from sensor_platform.mqtt.probe import BrokerProbe
from sensor_platform.mqtt.redelivery import RedeliveryWindow
from sensor_platform.mqtt.subscriptions import AddedSubscriptions
from sensor_platform.mqtt.waker import Waker
from sensor_platform.mqtt.wanted import Wanted
from sensor_platform.mqtt.warnings import Warnings
from sensor_platform.settings import Settings
from sensor_platform.staging.place import staging_root
from sensor_platform.staging.uploader import Uploader, open_uploader
from sensor_platform.staging.writer import StagingWriter


@dataclass(frozen=True, slots=True)
class Parts:
    """The collector's thread owns all of them; `probe`, `uploader` and `witness` have threads of their own."""

    client_id: str
    window: RedeliveryWindow
    writer: StagingWriter
    waker: Waker
    wanted: Wanted
    history: ConnectionHistory
    figures: Figures
    presence: Presence
    warnings: Warnings
    board: HealthBoard
    backoff: Backoff
    intake: Intake
    probe: BrokerProbe | None
    uploader: Uploader | None
    witness: Witness | None

    @classmethod
    def start(cls, settings: Settings, *, name: str, database_url: str | None) -> Self:
        """Raises CollectorBusyError: another process holds the staging folder."""
        from sensor_platform.routes.file import load_routes

        mqtt = settings.mqtt
        # The collector knows filters only; what the payloads mean is decoded elsewhere.
        of_routes = tuple(load_routes(settings, with_transformers=False).filters)
        own_id = client_id(settings, name)
        window = RedeliveryWindow()
        writer = StagingWriter(
            staging_root(settings),
            window=window,
            collector=name,
            max_messages=mqtt.buffer_max_size,
            max_age_s=mqtt.buffer_flush_interval_ms / 1000,
        )
        writer.__enter__()
        waker = Waker()
        added = AddedSubscriptions(writer.folder)
        wanted = Wanted(of_routes, added, share_group=mqtt.share_group, on_change=waker.wake)
        history = ConnectionHistory()
        figures = Figures(name, own_id)
        presence = Presence(mqtt.status_topic, collector=name, client_id=own_id)
        warnings = Warnings(figures, mqtt, presence)
        board = HealthBoard(figures, warnings, writer)
        backoff = Backoff(least_s=mqtt.reconnect_min_s, most_s=mqtt.reconnect_max_s)
        intake = Intake(writer, window, figures, linger_s=mqtt.linger_ms / 1000, on_commit=backoff.progress)
        if mqtt.broker_check_interval_s:
            board.probe = BrokerProbe(mqtt, on_found=waker.wake)
            board.probe.start()
        board.uploader = open_uploader(settings)
        if board.uploader is not None:
            board.uploader.start()
        if database_url is not None:
            board.witness = Witness(
                database_url,
                collector=name,
                health=lambda: board.health,
                history=history,
                standing=lambda: wanted.standing,
                on_wish=waker.wake,
                on_added=wanted.added,
            )
            board.witness.start()
        return cls(
            client_id=own_id,
            window=window,
            writer=writer,
            waker=waker,
            wanted=wanted,
            history=history,
            figures=figures,
            presence=presence,
            warnings=warnings,
            board=board,
            backoff=backoff,
            intake=intake,
            probe=board.probe,
            uploader=board.uploader,
            witness=board.witness,
        )

    def stop(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """The witness last of the threads: it tells the database how the others ended."""
        if self.probe is not None:
            self.probe.stop()
        if self.uploader is not None:
            self.uploader.stop()
            self.board.publish()
        if self.witness is not None:
            self.witness.stop()
        self.writer.__exit__(kind, error, trace)
        self.waker.close()
