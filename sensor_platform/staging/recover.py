"""What a start, or a new start after a full disk, finds: torn files become sealed ones, counters and window go on.

The order is the discipline: read what is whole and make it durable; window over it; state, synced; then seal. Only
after that may the collector connect. A state that named what is on no disk would take its redelivery for a repeat.
"""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from sensor_platform.log import get_logger
from sensor_platform.staging.durable import make_folder, move_without_replacing, sync_folder
from sensor_platform.staging.format import (
    FORMAT_VERSION,
    Group,
    first_sequence,
    folder_of,
    hour_of,
    last_sequence,
    number_of,
    received_us,
)
from sensor_platform.staging.kill_points import kill_point
from sensor_platform.staging.open_file import OpenFile
from sensor_platform.staging.state import CollectorState, WindowSnapshot, new_state, read_state, write_state
from sensor_platform.staging.torn import TornFile, read_torn

COPY_SUFFIX = ".copy"
DAMAGED_FOLDER = "damaged"


class Window(Protocol):
    """What recognises redelivered messages; it must survive a crash, so staging keeps it and brings it back."""

    @property
    def reuses_ids_early(self) -> bool: ...
    def forget(self) -> None: ...
    def restore(self, snapshot: WindowSnapshot) -> None: ...
    def snapshot(self) -> WindowSnapshot: ...
    def replay(self, batch: pa.RecordBatch, *, new_session: bool) -> None: ...
    def mark(self, group: Group, *, first_sequence: int) -> list[int | None] | None: ...


def recover(folder: Path, root: Path, window: Window) -> CollectorState:
    """Brings the folder in order and returns where the counters stand. Raises OSError when the disk does not let it."""
    for scratch in [*folder.glob(f"*{COPY_SUFFIX}"), *folder.glob("*.new")]:
        scratch.unlink()
    kept = read_state(folder)
    state = kept or new_state()
    torn = [_made_durable(path, root) for path in sorted(folder.glob("*.arrow"))]
    kill_point("recovery_before_state")
    if kept is None and torn:
        get_logger().warning("collector_state_lost", folder=str(folder), incarnation=state.incarnation)
    window.restore(state.window)
    for file in torn:
        if f"-{state.incarnation}-" in file.name:
            state = _replayed(file, state, window)
    state = replace(state, window=window.snapshot())
    write_state(folder, state)
    kill_point("recovery_before_seal")
    for file in torn:
        _seal_torn(file, root)
    return state


def _replayed(file: TornFile, state: CollectorState, window: Window) -> CollectorState:
    for batch, new_session in file.batches:
        if first_sequence(batch) < state.next_sequence:
            continue  # the state was written after it
        window.replay(batch, new_session=new_session)
        state = replace(
            state,
            next_sequence=last_sequence(batch) + 1,
            received_at_us=max(state.received_at_us, received_us(batch, batch.num_rows - 1)),
        )
    return replace(state, next_number=max(state.next_number, number_of(file.name) + 1))


def _made_durable(path: Path, root: Path) -> TornFile:
    """The whole batches of the file, synced in its place: what was written last may have been in memory only."""
    file = read_torn(path)
    if _is_moved(file, root):
        return file  # it was complete and synced before it got its second name
    if file.damaged:
        _keep_aside(file)
    if file.batches:
        _copy(file).replace(path)
        kill_point("recovery_before_sync")
        sync_folder(path.parent)
    return file


def _keep_aside(file: TornFile) -> None:
    aside = file.path.parent / DAMAGED_FOLDER / file.path.name
    make_folder(aside.parent)
    with suppress(FileExistsError):
        os.link(file.path, aside)
    sync_folder(aside.parent)
    get_logger().error("open_file_damaged", kept_as=str(aside), micro_batch=file.name)


def _seal_torn(file: TornFile, root: Path) -> None:
    if not file.batches:
        file.path.unlink()
        sync_folder(file.path.parent)
        return
    target = _target(file, root)
    if _is_moved(file, root):
        target.unlink()  # that name may be in memory only, if the folder's fsync is what failed: made anew below
    move_without_replacing(file.path, target)
    rows = sum(batch.num_rows for batch, _ in file.batches)
    get_logger().info("micro_batch_recovered", micro_batch=file.name, messages=rows)


def _target(file: TornFile, root: Path) -> Path:
    """Where the file is to lie, by the hour of its first message."""
    return root / folder_of(hour_of(received_us(file.batches[0].batch, 0))) / file.path.name


def _is_moved(file: TornFile, root: Path) -> bool:
    """Whether it stopped half way through the move: the same file under both names."""
    if not file.batches:
        return False
    target = _target(file, root)
    return target.exists() and target.samefile(file.path)


def _copy(file: TornFile) -> Path:
    path = file.path.with_name(file.path.name + COPY_SUFFIX)
    copy = OpenFile(path, file_metadata(file.name))
    try:
        for batch, new_session in file.batches:
            copy.write(batch, new_session=new_session)
        copy.finish()
    except OSError:
        copy.abandon()
        with suppress(OSError):
            path.unlink()
        raise
    return path


def file_metadata(name: str, *, reuses_ids_early: bool = False) -> dict[str, str]:
    """What a micro-batch file says of itself."""
    collector, incarnation, number = name.rsplit("-", 2)
    facts = {
        "format_version": FORMAT_VERSION,
        "collector": collector,
        "incarnation": incarnation,
        "number": str(int(number)),
    }
    return {**facts, "reuses_ids_early": "1"} if reuses_ids_early else facts
