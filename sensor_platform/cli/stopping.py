"""SIGTERM and Ctrl-C of a collector: the first asks it to stop, the second, or one too slow an end, ends it at once.

A thread of its own hears them through Python's wakeup fd: a handler in Python would wait for the main thread, which may
hang in a disk that does not answer. Ending at once loses nothing that was acknowledged: that is on the disk.
"""

import os
import signal
import threading
from collections.abc import Callable

from sensor_platform.log import get_logger

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stop_on_signals(request_stop: Callable[[], None], *, within_s: float) -> None:
    """To be called in the main thread. `request_stop` is called in another."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    for each in SIGNALS:
        signal.signal(each, lambda *_: None)

    def listen() -> None:
        os.read(read_fd, 1)
        end = threading.Timer(within_s, _end_at_once, [f"not stopped within MQTT_STOP_TIMEOUT={within_s:g} s"])
        end.daemon = True
        end.start()
        request_stop()
        os.read(read_fd, 1)
        _end_at_once("a second signal")

    threading.Thread(target=listen, name="stop-signals", daemon=True).start()


def _end_at_once(reason: str) -> None:
    get_logger().error("stopped_at_once", reason=reason, detail="what was not acknowledged stays with the broker")
    os._exit(1)
