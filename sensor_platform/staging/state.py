"""What a collector must remember between its files: who it is, where its counters stand, and its redelivery window.

One file in the collector's folder, replaced whole at each seal: an Arrow file too, with a crc of its own.
"""

import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sensor_platform.staging.durable import replace_file

STATE_FILE = "state"

#: One row a packet id that names a message; what the numbers mean is the redelivery window's business.
WINDOW_SCHEMA = pa.schema(
    [
        pa.field("packet_id", pa.uint16(), nullable=False),
        pa.field("sequence", pa.int64(), nullable=False),
        pa.field("digest", pa.uint64(), nullable=False),
        pa.field("connection", pa.int64(), nullable=False),
        pa.field("place", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class WindowSnapshot:
    """The redelivery window at one moment."""

    rows: pa.RecordBatch
    connection: int
    originals: int  # messages so far that repeat no other one
    reuses_ids_early: bool


EMPTY_WINDOW = WindowSnapshot(
    pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in WINDOW_SCHEMA], schema=WINDOW_SCHEMA), 0, 0, False
)


@dataclass(frozen=True, slots=True)
class CollectorState:
    """Counters run on for the whole incarnation; a new one is drawn when they are lost."""

    incarnation: str
    next_number: int = 0
    next_sequence: int = 0
    received_at_us: int = 0
    window: WindowSnapshot = EMPTY_WINDOW


def new_state() -> CollectorState:
    """A fresh incarnation."""
    return CollectorState(incarnation=secrets.token_hex(4))


def write_state(folder: Path, state: CollectorState) -> None:
    """Durable when it returns."""
    rows = state.window.rows
    facts = {
        "incarnation": state.incarnation,
        "next_number": state.next_number,
        "next_sequence": state.next_sequence,
        "received_at_us": state.received_at_us,
        "connection": state.window.connection,
        "originals": state.window.originals,
        "reuses_ids_early": int(state.window.reuses_ids_early),
    }
    metadata = {name: str(value) for name, value in facts.items()}
    metadata["crc"] = str(_crc(rows, metadata))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, WINDOW_SCHEMA.with_metadata(metadata)) as writer:
        writer.write_batch(rows)
    replace_file(folder / STATE_FILE, sink.getvalue().to_pybytes())


def read_state(folder: Path) -> CollectorState | None:
    """The state that was written last; None when there is none, or it is damaged."""
    try:
        reader = pa.ipc.open_file((folder / STATE_FILE).read_bytes())
        facts = {name.decode(): value.decode() for name, value in (reader.schema.metadata or {}).items()}
        rows = reader.get_batch(0).replace_schema_metadata(None)
        if facts.pop("crc") != str(_crc(rows, facts)):
            return None
        return _state(facts, rows)
    except (OSError, pa.ArrowException, KeyError, ValueError, IndexError):
        return None


def _state(facts: Mapping[str, str], rows: pa.RecordBatch) -> CollectorState:
    return CollectorState(
        incarnation=facts["incarnation"],
        next_number=int(facts["next_number"]),
        next_sequence=int(facts["next_sequence"]),
        received_at_us=int(facts["received_at_us"]),
        window=WindowSnapshot(
            rows=rows,
            connection=int(facts["connection"]),
            originals=int(facts["originals"]),
            reuses_ids_early=facts["reuses_ids_early"] == "1",
        ),
    )


def _crc(rows: pa.RecordBatch, facts: Mapping[str, str]) -> int:
    return zlib.crc32(repr(sorted(facts.items())).encode(), zlib.crc32(rows.serialize()))
