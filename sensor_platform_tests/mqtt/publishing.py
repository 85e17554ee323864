"""A publisher that never rests, and says what the broker confirmed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sensor_platform_tests.mqtt.collecting import publish, publisher


@contextmanager
def always_publishing(broker: Any, topic: str) -> Iterator[list[bytes]]:
    """Numbers, confirmed one by one, until the end of the block."""
    confirmed: list[bytes] = []
    over = threading.Event()

    def run() -> None:
        with publisher(broker) as client:
            while not over.is_set():
                payload = b"%d" % len(confirmed)
                publish(client, [(topic, payload)])
                confirmed.append(payload)

    thread = threading.Thread(target=run, name="always publishing")
    thread.start()
    try:
        yield confirmed
    finally:
        over.set()
        thread.join(timeout=30)
        assert not thread.is_alive()
