"""The real collector as a process of its own: no database, settings from the environment.

It writes how many messages are durable and acknowledged into its place of a file that it shares with the other
workers, and ends when the numbers there add up to MESSAGES: `python -m benchmarks.collector_process MESSAGES FILE
PLACE`. Says `collecting` when it is connected and `done` at the end.
"""

import sys
import threading
import time
from pathlib import Path

import numpy as np

from sensor_platform.mqtt.collector import Collector
from sensor_platform.mqtt.states import State
from sensor_platform.settings import load_settings


def main(messages: str, file: str, place: str) -> None:
    counts = received(Path(file))
    with Collector(load_settings(env_file=None), managed=False, name=f"c{place}") as collector:
        threading.Thread(target=_watch, args=(collector, counts, int(place), int(messages)), daemon=True).start()
        collector.run()


def received(file: Path, *, workers: int | None = None) -> np.ndarray:
    """The messages of each worker, in memory that processes share; `workers`: a new file for so many."""
    return np.memmap(file, np.int64, "r+") if workers is None else np.memmap(file, np.int64, "w+", shape=(workers,))


def _watch(collector: Collector, counts: np.ndarray, place: int, messages: int) -> None:
    while collector.health.state is not State.COLLECTING:
        time.sleep(0.005)
    print("collecting", file=sys.stderr, flush=True)
    while counts.sum() < messages:
        counts[place] = collector.health.messages
        time.sleep(0.005)
    print("done", file=sys.stderr, flush=True)
    collector.request_stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
