"""Whichever step a full or a dying disk refuses, what was staged is there once, and the writer goes on."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from sensor_platform.errors import StagingUnavailableError
from sensor_platform.mqtt.redelivery import RedeliveryWindow
from sensor_platform.staging.store import LocalStaging
from sensor_platform.staging.writer import StagingWriter
from sensor_platform_tests.staging.failing_disk import FailingDisk
from sensor_platform_tests.staging.groups import group

MESSAGES = [b"%d" % number for number in range(4)]
SEALED_AFTER = (1, 3)  # two groups a file
MOST_ATTEMPTS = 12


class Collecting:
    """What the collector does with its writer: stage, seal now and then, and begin again after each refusal."""

    def __init__(self, root: Path) -> None:
        self.window = RedeliveryWindow()
        self.writer = StagingWriter(root, window=self.window)
        self.refused: list[str] = []

    def run(self) -> None:
        while not self._try(self.writer.__enter__):
            pass
        with self.writer:
            for number, payload in enumerate(MESSAGES):
                self._stage(number, payload)
                if number in SEALED_AFTER:
                    self._try(self.writer.seal)

    def _stage(self, number: int, payload: bytes) -> None:
        """Once acknowledged it does not come again; before that it does, flagged, in the next connection."""
        for attempt in range(MOST_ATTEMPTS):
            if not self.writer.is_ready:
                if not self._try(self.writer.recover):
                    continue
                self.window.connected()
            what = group(payload, first_id=number + 1, connection=self.window.connection, dup=attempt > 0)
            if self._try(lambda what=what: self.writer.stage(what)):  # type: ignore[misc]
                return
        raise AssertionError(f"refused {MOST_ATTEMPTS} times: {self.refused}")

    def _try(self, step: Any) -> bool:
        try:
            step()
        except StagingUnavailableError as err:  # no other error may come out of it
            self.refused.append(str(err))
            return False
        return True


def staged_once(root: Path) -> list[bytes]:
    """The messages that the pipeline will decode, after the next start."""
    with StagingWriter(root, window=RedeliveryWindow()) as writer:
        writer.recover()
    assert list(root.glob("_open/*/*.arrow")) == []
    store = LocalStaging(root)
    rows = [row for each in store.micro_batches() for row in store.read(each).to_pylist()]
    rows.sort(key=lambda row: row["sequence"])
    assert [row["sequence"] for row in rows] == list(range(len(rows)))
    return [row["payload"] for row in rows if row["redelivery_of"] is None]


def operations(folder: Path) -> list[str]:
    folder.mkdir(exist_ok=True)
    with FailingDisk(folder)() as disk:
        Collecting(folder).run()
    return disk.log


@pytest.mark.parametrize(
    ("code", "for_more"),
    [(errno.ENOSPC, 0), (errno.EIO, 0), (errno.ENOSPC, 4)],
    ids=["full", "broken", "full for a while"],
)
def test_whichever_step_is_refused_each_message_is_staged_once(tmp_path: Path, code: int, for_more: int) -> None:
    steps = operations(tmp_path / "unhurt")
    for number, step in enumerate(steps):
        root = tmp_path / str(number)
        root.mkdir()
        collecting = Collecting(root)
        with FailingDisk(root, fails_at=number, for_more=for_more, code=code)() as disk:
            collecting.run()
        assert disk.synced_again == [], step
        assert collecting.refused, step
        assert all(os.strerror(code) in reason for reason in collecting.refused), step
        assert staged_once(root) == MESSAGES, step


def test_every_kind_of_step_is_among_them(tmp_path: Path) -> None:
    kinds = {" ".join(part for part in step.split() if not part.startswith("/")) for step in operations(tmp_path)}
    assert kinds == {"write", "fsync", "fdatasync", "link", "mkdir", "open", "replace"}


def test_a_name_whose_folder_was_not_synced_is_made_anew(tmp_path: Path) -> None:
    """fsync of the target's folder fails: that name may be gone after a power cut, and syncing again proves nothing."""
    steps = operations(tmp_path / "unhurt")
    place = next(n for n, step in enumerate(steps) if step.startswith("link"))
    assert steps[place + 1].startswith("fsync /dt=")
    (tmp_path / "hurt").mkdir()
    with FailingDisk(tmp_path / "hurt", fails_at=place + 1, code=errno.EIO)() as disk:
        Collecting(tmp_path / "hurt").run()
    linked = [step for step in disk.done if step.startswith("link") and step.endswith("-00000000.arrow")]
    assert len(linked) == 2
    assert staged_once(tmp_path / "hurt") == MESSAGES
