"""The real collector as a process of its own: no database, settings from the environment; ends after MESSAGES."""

import sys
import threading
import time

from sensor_platform.mqtt.collector import Collector
from sensor_platform.settings import load_settings


def main(messages: str) -> None:
    with Collector(load_settings(env_file=None), managed=False, retry=False) as collector:
        threading.Thread(target=_stop_after, args=(collector, int(messages)), daemon=True).start()
        collector.run()


def _stop_after(collector: Collector, messages: int) -> None:
    while collector.health.messages < messages:
        time.sleep(0.002)
    print("done", file=sys.stderr, flush=True)  # all of them are synced and acknowledged
    collector.request_stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
