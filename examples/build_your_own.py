"""The platform from Python: a format of your own, a collector with its health, and readings out of the staging area.

MQTT_BROKER_URL=mqtt://localhost python examples/build_your_own.py [FOLDER]
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from sensor_platform import transformer
from sensor_platform.mqtt.collector import Collector
from sensor_platform.mqtt.publisher import Publisher
from sensor_platform.pipeline.decode import decode
from sensor_platform.routes.file import load_routes
from sensor_platform.settings import MqttSettings, Settings
from sensor_platform.staging.place import open_staging


@transformer("press-log", version="1")
def press_log(payload: bytes, topic: str, received_at: datetime) -> Iterator[dict[str, Any]]:
    """`812.5@2026-01-02T03:04:05Z`: force in kN at a time. What raises becomes a dead letter."""
    force, at = payload.decode().split("@")
    yield {"metric": "force", "value": float(force), "unit": "kN", "timestamp": at}


ROUTES = """\
routes:
  - name: press-log
    filter: example/{work_unit}/press/{sensor}
    format: press-log
"""

MESSAGES = [
    ("example/press-shop/press/press-1", b"812.5@2026-01-02T03:04:05Z"),
    ("example/press-shop/press/press-2", b"790.25@2026-01-02T03:04:06Z"),
    ("example/press-shop/press/press-2", b"no force at all"),
]


def build_settings(folder: Path) -> Settings:
    """Settings without an environment: every section is a plain model."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    routes = folder / "routes.yaml"
    routes.write_text(ROUTES, encoding="utf-8")
    password = os.environ.get("MQTT_PASSWORD")
    return Settings(
        home=folder,
        routes_file=routes,
        mqtt=MqttSettings(
            broker_url=os.environ.get("MQTT_BROKER_URL", "mqtt://localhost"),
            username=os.environ.get("MQTT_USERNAME"),
            password=SecretStr(password) if password else None,
            buffer_flush_interval_ms=200,
        ),
    )


def collect(settings: Settings) -> None:
    """Runs a collector until it has made the messages durable."""
    with Collector(settings) as collector:
        thread = threading.Thread(target=collector.run, name="collector")
        thread.start()
        try:
            wait_until(lambda: collector.health.state == "collecting")
            with Publisher(settings) as publisher:
                print(publisher.publish_all(MESSAGES))
            wait_until(lambda: collector.health.messages >= len(MESSAGES))
            health = collector.health
            print(f"{health.state}: {health.messages} messages, last commit {health.last_commit_at}")
        finally:
            collector.request_stop()  # drains and seals
            thread.join()


def show(settings: Settings) -> None:
    """Decodes what was staged, with the format above."""
    staging, routes = open_staging(settings), load_routes(settings)
    for micro_batch in staging.micro_batches():
        decoded = decode(staging.read(micro_batch), routes, max_payload_bytes=settings.mqtt.max_payload_bytes)
        print(decoded.readings[["work_unit", "sensor", "metric", "value", "unit"]].to_string(index=False))
        for refusal in decoded.refusals:
            print(f"refused: {refusal.stage}, {refusal.code}: {refusal.detail}")


def wait_until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("the collector did not get there: is a broker running at MQTT_BROKER_URL?")
        time.sleep(0.05)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        settings = build_settings(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary) / "home")
        collect(settings)
        show(settings)


if __name__ == "__main__":
    main()
