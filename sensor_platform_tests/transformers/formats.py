"""Formats of one's own for tests, written as a user writes them, and routes that take them."""

from pathlib import Path

from sensor_platform.pipeline.decode import DecodedMessages, decode
from sensor_platform.routes.file import parse_routes
from sensor_platform.routes.model import Routes
from sensor_platform.settings import TransformerSettings
from sensor_platform_tests.transformers.decoding import table_of

#: Short enough to wait for, long enough for a machine that is busy.
LIMITS = TransformerSettings(timeout_s=2, memory_bytes=200_000_000)

TROUBLE = '''
import ctypes, itertools, os, signal, sys
from pathlib import Path

import numpy as np
import pandas as pd

from sensor_platform import transformer
from sensor_platform.transformers.contract import Decoded, READING_COLUMNS
from sensor_platform.transformers.definitions import Timeline


def hang():
    """A loop in C that holds the lock of the interpreter and hears no signal: only SIGKILL ends it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    sum(itertools.repeat(0))


def grow():
    kept = bytearray()
    while True:
        kept += bytes(20_000_000)


def make(payload):
    match payload:
        case b"hang": hang()
        case b"grow": grow()
        case b"segfault": ctypes.string_at(0)
        case b"exit": os._exit(3)
        case b"sys.exit": sys.exit(4)
        case b"killed": os.kill(os.getpid(), signal.SIGKILL)
        case b"raise": raise ValueError("no such force")
        case b"print":
            print("words of a transformer", flush=True)
            os.write(1, b"and more of them")
    return float(payload) if payload.isdigit() else 0.5


@transformer("trouble", version="3")
def trouble(payload, topic, received_at):
    if payload == b"pid":
        yield {"metric": "pid", "value": os.getpid()}
    else:
        yield {"value": make(payload)}


@transformer("column-trouble", columns=True)
def column_trouble(column, route):
    count = len(column)
    values = [make(payload) for payload in column.payloads]
    return Decoded(pd.DataFrame({
        "message": range(count), "ordinal": 0, "work_unit": "line1",
        "sensor": [7 if payload == b"7" else "press" for payload in column.payloads], "metric": "m",
        "time": 1_748_779_200_000_000, "timed_by_receipt": False, "value": values, "text": None, "unit": "kN",
        "quality": 0,
    })[list(READING_COLUMNS)])


@transformer("texts", columns=True)
def texts(column, route):
    """A payload is a number, a space and a text."""
    numbers, words = zip(*(payload.decode().split(" ") for payload in column.payloads))
    return Decoded(pd.DataFrame({
        "message": range(len(column)), "ordinal": 0, "work_unit": "line1", "sensor": "press", "metric": "m",
        "time": 1_748_779_200_000_000, "timed_by_receipt": False, "value": [float(number) for number in numbers],
        "text": words, "unit": None, "quality": 0,
    })[list(READING_COLUMNS)])


@transformer("scaled", columns=True)
def scaled(column, route):
    """Payloads are numbers, or the scale of those after it."""
    timeline, rows = Timeline(column.definitions), []
    for message, payload in enumerate(column.payloads):
        if payload.startswith(b"scale "):
            timeline.define(message, "scale", {"scale": float(payload[6:])})
        else:
            rows.append({"message": message, "value": make(payload) * timeline.latest("scale", message)["scale"]})
    readings = pd.DataFrame(rows, columns=list(READING_COLUMNS)).assign(
        ordinal=0, work_unit="line1", sensor="press", metric="m", time=0, timed_by_receipt=True, text=None, unit=None,
        quality=0,
    )
    return Decoded(readings, definitions=timeline.found)
'''


def routes_of(folder: Path, format_: str, *, code: str = TROUBLE, limits: TransformerSettings = LIMITS) -> Routes:
    """Routes of one format of the module `plant_formats` in `folder`."""
    (folder / "plant_formats.py").write_text(code, encoding="utf-8")
    text = (
        f"transformers: [plant_formats]\nroutes: [{{name: r, filter: 'p/{{work_unit}}/{{sensor}}', format: {format_}}}]"
    )
    return parse_routes(text, folder=folder, transformers=limits)


def decoded_by(routes: Routes, *payloads: bytes) -> DecodedMessages:
    return decode(table_of(payloads, topic="p/line1/press"), routes, max_payload_bytes=1_000_000)


def worker_pid(routes: Routes) -> int:
    return int(decoded_by(routes, b"pid").readings["value"][0])
