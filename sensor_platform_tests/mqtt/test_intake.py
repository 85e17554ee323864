"""Between session and writer: what the disk must know of a session that began anew."""

from contextlib import suppress
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from sensor_platform.errors import StagingUnavailableError
from sensor_platform.mqtt.arrived import Arrived
from sensor_platform.mqtt.health import Figures
from sensor_platform.mqtt.intake import Intake
from sensor_platform.mqtt.redelivery import RedeliveryWindow
from sensor_platform.staging.writer import StagingWriter


def session(*, present: bool) -> Any:
    """One that brings a message whenever it is asked."""

    def take() -> Arrived:
        return Arrived(bytearray(b"\x32"), [b"a/b"], [b"1"], bytearray(b"\0\1"))

    return mock.Mock(session_present=present, take=take)


@pytest.fixture
def intake() -> SimpleNamespace:
    writer = mock.create_autospec(StagingWriter, instance=True)
    writer.stage.return_value = 0
    one = Intake(writer, RedeliveryWindow(), Figures("c0", "id"), linger_s=0, on_commit=lambda: None)
    return SimpleNamespace(intake=one, writer=writer)


def markers(writer: Any) -> list[bool]:
    return [call.args[0].new_session for call in writer.stage.call_args_list]


def test_a_new_session_is_marked_in_its_own_connection_only(intake: SimpleNamespace) -> None:
    intake.writer.stage.side_effect = [StagingUnavailableError("full"), 0, 0]
    intake.intake.begin(session(present=False))
    with suppress(StagingUnavailableError):
        intake.intake.drain(session(present=False))
    # The group may be on the disk all the same. A second marker would forget it, and its redelivery would be doubled.
    intake.intake.begin(session(present=True))
    intake.intake.drain(session(present=True))
    assert markers(intake.writer) == [True, False]
    assert intake.writer.begin_session.call_count == 1


def test_a_new_session_that_the_disk_did_not_take_is_told_again(intake: SimpleNamespace) -> None:
    intake.writer.begin_session.side_effect = [StagingUnavailableError("full"), None]
    with pytest.raises(StagingUnavailableError):
        intake.intake.begin(session(present=False))
    intake.intake.begin(session(present=True))  # by now the broker has one
    intake.intake.drain(session(present=True))
    assert intake.writer.begin_session.call_count == 2
    assert markers(intake.writer) == [True]
